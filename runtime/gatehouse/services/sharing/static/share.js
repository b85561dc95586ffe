// Enhances the recipient pages, which also work without this script: fills in the link, copies or hides the text, shows the
// remaining time, and decrypts end-to-end content.
"use strict";

const byId = (id) => document.getElementById(id);
const fragment = location.hash.slice(1);
const [linkSecret, contentKey] = fragment.split(".");

// Browsers do not send the part of the link after # to the server, so copy this part into the form.
for (const form of document.querySelectorAll("form[data-link]")) {
  const field = form.elements.namedItem("link");
  if (field && linkSecret) {
    field.value = `${form.dataset.link}#${linkSecret}`;
    field.required = false;
    byId("link-field").hidden = true;
  }
  form.action += fragment ? `#${fragment}` : "";
  form.addEventListener("submit", () => {
    // The next page gets the fragment from the form's action URL. Remove the fragment from the history.
    history.replaceState(null, "", location.pathname);
    for (const button of form.querySelectorAll("button[data-once]")) {
      setTimeout(() => { button.disabled = true; });
    }
  });
}

const remaining = byId("remaining");
if (remaining) {
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

const secret = byId("secret");
if (secret || byId("files") || byId("submitted")) {
  // The link was used: remove the link secret from the address bar and the history.
  history.replaceState(null, "", location.pathname);
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

async function present() {
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

if (secret) { present(); }
