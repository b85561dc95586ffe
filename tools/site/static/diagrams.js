// Draws the diagrams of a page with Mermaid, in the colors of the theme.
const diagrams = [...document.querySelectorAll("pre.mermaid")].map((element) => ({ element, source: element.textContent }));
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

async function draw() {
  const theme = document.body.dataset.theme ?? "auto";
  const dark = theme === "dark" || (theme === "auto" && prefersDark.matches);
  const themeVariables = dark ? { edgeLabelBackground: "#1f2020", textColor: "#e0e0e0" } : {};
  mermaid.initialize({ startOnLoad: false, securityLevel: "strict", theme: dark ? "dark" : "neutral", themeVariables });
  for (const { element, source } of diagrams) {
    element.removeAttribute("data-processed");
    element.textContent = source;
  }
  await mermaid.run({ nodes: diagrams.map(({ element }) => element) });
}

draw();
prefersDark.addEventListener("change", draw);
new MutationObserver(draw).observe(document.body, { attributeFilter: ["data-theme"] });
