// Enhances the pages, which also work without this script: fills in the link, stays on the page until the service has
// answered, copies, hides and saves the text, shows local times, and decrypts end-to-end content.
"use strict";

const byId = (id) => document.getElementById(id);
const language = document.documentElement.lang;
const KEPT_MS = 600000; // The browser can repeat the opening of a link as long.
const [linkSecret, contentKey] = (location.hash.slice(1) || kept()).split(".");
let text; // the text of the secret, with its line ends
let isLocal = false; // only this page has the text
let busy = false;
let isUnsaved = false; // the page shows a secret, or contains one that was not sent

// The part of the link after #, which was removed from the address. This tab keeps it for a reload.
function kept() {
  const [end, fragment] = JSON.parse(sessionStorage.getItem(location.pathname) ?? "[0]");
  return end > Date.now() ? fragment : "";
}

function prepare(form) {
  // Browsers do not send the part of the link after # to the server, so copy this part into the form.
  if (form.dataset.link && linkSecret) {
    const field = form.elements.namedItem("link");
    field.value = `${form.dataset.link}#${linkSecret}`;
    field.required = false;
    byId("link-field").hidden = true;
  }
  form.addEventListener("input", () => { isUnsaved ||= form.enctype === "multipart/form-data"; });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.id === "save" && isLocal) {
      save(new Blob([text]), form.dataset.name);
    } else if (form.dataset.incomplete && contentKey?.length !== 43) {
      fail(form, form.dataset.incomplete); // before the link is used
    } else if (!busy) {
      send(form);
    }
  });
}

function wait(waits) {
  busy = waits;
  document.querySelector("main").ariaBusy = String(waits);
}

// The page keeps the link and what was typed.
function fail(form, problem) {
  wait(false);
  const alert = byId("connection-lost");
  alert.textContent = problem ?? alert.dataset.text;
  alert.hidden = false;
  form.append(alert);
  alert.focus();
}

// Sends a form without leaving the page. The answer is a page, or a file to save.
function send(form) {
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.responseType = "document";
  request.onreadystatechange = () => {
    if (request.readyState === 2 && request.getResponseHeader("content-disposition")) { request.responseType = "blob"; }
  };
  request.onerror = () => fail(form);
  request.onload = () => {
    const { response, status } = request;
    if (response instanceof Blob) {
      wait(false);
      save(response, decodeURIComponent(request.getResponseHeader("content-disposition").split("''")[1]));
      return;
    }
    const main = response?.querySelector("main");
    if (!main || (status >= 400 && !main.querySelector("form") && !(status === 404 && form.dataset.link))) {
      fail(form, status < 500 ? main?.querySelector("p").textContent : undefined);
      return;
    }
    wait(false);
    document.title = response.title;
    document.querySelector("main").replaceWith(main);
    isUnsaved = false;
    if (form.id === "acknowledge") { sessionStorage.removeItem(location.pathname); }
    start();
    const target = main.querySelector("[autofocus]") ?? main.querySelector("h1");
    target.tabIndex = -1;
    target.focus();
  };
  byId("connection-lost").hidden = true;
  wait(true);
  const fields = new FormData(form);
  request.send(form.enctype === "multipart/form-data" ? fields : new URLSearchParams(fields));
}

function save(blob, name) {
  isUnsaved = false;
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60000);
}

function showLocalTime(time) {
  const parts = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" };
  time.textContent = new Intl.DateTimeFormat(language, parts).format(new Date(time.dateTime));
}

function showRemaining(remaining) {
  const end = Date.parse(remaining.dataset.end);
  const format = new Intl.RelativeTimeFormat(language, { numeric: "always" });
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
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await crypto.subtle.decrypt(parameters, key, data.slice(12)));
}

// For browsers and pages without the clipboard API.
function copySelected(secret) {
  const copy = (event) => {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  };
  secret.select();
  document.addEventListener("copy", copy);
  const copied = document.execCommand("copy");
  document.removeEventListener("copy", copy);
  return copied;
}

async function present(secret) {
  text = secret.defaultValue; // unlike `value`, with CR LF
  if (secret.dataset.sealed) {
    try {
      text = secret.value = await decrypt(secret.dataset.sealed);
    } catch {
      byId("decrypt-failed").hidden = false;
      return;
    }
    isLocal = true;
    removeFragment();
    byId("encrypted").hidden = true;
    byId("save").hidden = false;
  }
  isLocal ||= !text.includes("\ufffd"); // which replaces what HTML cannot contain
  const [copy, hide] = [byId("copy"), byId("hide")];
  let isHidden = false;
  const toggle = () => {
    isHidden = !isHidden;
    secret.value = isHidden ? "\u2022".repeat(8) : text;
    [hide.textContent, hide.dataset.other] = [hide.dataset.other, hide.textContent];
  };
  hide.addEventListener("click", toggle);
  copy.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      if (isHidden) { toggle(); }
      copied = copySelected(secret);
      if (copied) { copy.focus(); }
    }
    isUnsaved &&= !copied;
    byId("note").textContent = copied ? copy.dataset.done : copy.dataset.manual;
  });
  byId("tools").hidden = false;
  isUnsaved = true;
}

// The content is on the page, so remove the link secret from the address bar and the history.
function removeFragment() {
  if (location.hash && !byId("submitted")) {
    sessionStorage.setItem(location.pathname, JSON.stringify([Date.now() + KEPT_MS, location.hash.slice(1)]));
  }
  history.replaceState(null, "", location.pathname);
}

function start() {
  document.querySelectorAll("form").forEach(prepare);
  document.querySelectorAll("time").forEach(showLocalTime);
  const remaining = byId("remaining");
  if (remaining) { showRemaining(remaining); }
  const secret = byId("secret");
  if ((secret && !secret.dataset.sealed) || byId("files") || byId("submitted")) { removeFragment(); }
  if (secret) { present(secret); }
  const again = document.querySelector("form[data-again]");
  if (again && linkSecret) { again.requestSubmit(); }
}

addEventListener("beforeunload", (event) => {
  if (busy || isUnsaved) { event.preventDefault(); }
});

start();
