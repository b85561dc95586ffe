// Enhances the recipient pages, which also work without this script: fills in the link, copies or hides the text, shows the
// remaining time, and decrypts end-to-end content.
"use strict";

const byId = (id) => document.getElementById(id);
const fragment = location.hash.slice(1);
const [linkSecret, contentKey] = fragment.split(".");

// Browsers do not send the part of the link after # to the server, so copy this part into the form.
function prepare(form) {
  const field = form.elements.namedItem("link");
  if (field && linkSecret) {
    field.value = `${form.dataset.link}#${linkSecret}`;
    field.required = false;
    byId("link-field").hidden = true;
  }
  form.action += fragment ? `#${fragment}` : "";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    byId("connection-lost").hidden = true;
    enable(form, false);
    (form.enctype === "multipart/form-data" ? send : open)(form);
  });
}

function enable(form, enabled) {
  form.querySelectorAll("button[data-once]").forEach((button) => { button.disabled = !enabled; });
}

// The page keeps the link and what was typed.
function fail(form, text) {
  const alert = byId("connection-lost");
  alert.textContent = text ?? alert.dataset.text;
  alert.role = "alert";
  alert.hidden = false;
  alert.scrollIntoView({ block: "nearest" });
  enable(form, true);
}

// Leaves the page only if the service can be reached. A reload of the next page sends the form again, without another use.
async function open(form) {
  const reply = await fetch(location.pathname, { method: "HEAD", cache: "no-store" }).catch(() => undefined);
  if (!reply || reply.status >= 500) {
    fail(form);
    return;
  }
  // The next page gets the fragment from the form's action URL. Remove the fragment from the history.
  history.replaceState(null, "", location.pathname);
  form.submit();
}

// Sends the form without leaving the page, until the service has received the content.
function send(form) {
  const request = new XMLHttpRequest();
  request.open("POST", location.pathname);
  request.responseType = "document";
  request.onerror = () => fail(form);
  request.onload = () => {
    const page = request.response;
    const main = page?.querySelector("main");
    const isTemporary = request.status === 429 || request.status >= 500;
    if (!main || (isTemporary && !main.querySelector("form[data-link]"))) {
      fail(form, request.status === 429 ? main?.querySelector("p")?.textContent : undefined);
      return;
    }
    document.title = page.title;
    document.querySelector("main").replaceWith(main);
    start();
    const heading = document.querySelector("h1");
    heading.tabIndex = -1;
    heading.focus();
  };
  request.send(new FormData(form));
}

function showRemaining(remaining) {
  const end = Date.parse(remaining.dataset.end);
  const format = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "always" });
  const update = () => {
    const seconds = Math.max(0, Math.round((end - Date.now()) / 1000));
    const [amount, unit] = seconds >= 172800 ? [seconds / 86400, "day"] : seconds >= 7200 ? [seconds / 3600, "hour"]
      : seconds >= 120 ? [seconds / 60, "minute"] : [seconds, "second"];
    // Rounded up if almost a whole unit remains: three days are "in 3 days" a minute later.
    remaining.textContent = `(${format.format(Math.floor(amount + 0.02), unit)})`;
    if (seconds > 0) { setTimeout(update, seconds > 120 ? 30000 : 1000); }
  };
  update();
}

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));

async function decrypt(sealed) {
  const key = await crypto.subtle.importKey("raw", bytes(contentKey), "AES-GCM", false, ["decrypt"]);
  const data = bytes(sealed);
  const parameters = { name: "AES-GCM", iv: data.slice(0, 12), additionalData: new TextEncoder().encode("gatehouse-e2e-v1") };
  return new TextDecoder("utf-8", { fatal: true }).decode(await crypto.subtle.decrypt(parameters, key, data.slice(12)));
}

async function acknowledge() {
  const form = byId("acknowledge");
  if (form && form.dataset.automatic !== undefined) {
    const reply = await fetch(form.action.split("#")[0], { method: "POST", body: new URLSearchParams(new FormData(form)) });
    form.hidden = reply.ok;
  }
}

async function present(secret) {
  if (secret.dataset.sealed) {
    try {
      secret.value = await decrypt(secret.dataset.sealed);
      byId("encrypted").hidden = true;
    } catch {
      byId("decrypt-failed").hidden = false;
      return;
    }
  }
  byId("tools").hidden = false;
  byId("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(secret.value);
    byId("status").textContent = byId("copy").dataset.done;
  });
  byId("hide").addEventListener("click", (event) => {
    const hidden = secret.classList.toggle("hidden");
    event.currentTarget.setAttribute("aria-pressed", String(hidden));
  });
  await acknowledge();
}

function start() {
  document.querySelectorAll("form[data-link]").forEach(prepare);
  const remaining = byId("remaining");
  if (remaining) { showRemaining(remaining); }
  const secret = byId("secret");
  if (secret || byId("files") || byId("submitted")) {
    // The link was used: remove the link secret from the address bar and the history.
    history.replaceState(null, "", location.pathname);
  }
  if (secret) { present(secret); }
}

start();
