/** Switches between dark and light; at first it is as the system has it, then as was chosen here before. */

const STORED = "nextply-theme";

/** @param {HTMLButtonElement} button @param {() => void} changed */
export function offerThemes(button, changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem(STORED) ?? (system.matches ? "dark" : "light");
  const apply = () => {
    document.documentElement.dataset.theme = chosen();
    button.setAttribute("aria-pressed", String(chosen() === "dark"));
    changed();
  };
  button.addEventListener("click", () => {
    localStorage.setItem(STORED, chosen() === "dark" ? "light" : "dark");
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
