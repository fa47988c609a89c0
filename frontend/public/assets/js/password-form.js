/** Changing the password, which ends every session of the person, this one too. */

import { ApiError, explain } from "./api.js";
import { find, write } from "./dom.js";

const NAMES = { old_password: "old", new_password: "new" };

export class PasswordForm {
  #root;
  #session;
  #fields;

  /**
   * @param {HTMLElement} root  the form
   * @param {import("./session.js").Session} session
   */
  constructor(root, session) {
    this.#root = root;
    this.#session = session;
    this.#fields = { old: find("#old-password", root), new: find("#new-password", root) };
    root.noValidate = true;
    root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Forget what was typed. */
  clear() {
    this.#root.reset();
    this.#mark({});
    this.#fail("");
  }

  async #submit() {
    const button = find("button[type=submit]", this.#root);
    if (button.getAttribute("aria-disabled") === "true") return;
    const { old, new: fresh } = this.#fields;
    this.#fail("");
    this.#mark({
      old: old.value === "" ? "Enter the password you have." : "",
      new: fresh.value === "" ? "Enter the password you want." : "",
    });
    if (this.#focusWrong()) return;
    button.setAttribute("aria-disabled", "true");
    try {
      await this.#session.changePassword(old.value, fresh.value);
    } catch (error) {
      if (this.#session.loggedIn) this.#explain(error);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  /** The server says which field is wrong; what it says of none is told beside the button. */
  #explain(error) {
    const told = error instanceof ApiError && Array.isArray(error.answer?.body?.errors) ? error.answer.body.errors : [];
    const words = {};
    for (const { field, detail } of told) {
      const name = NAMES[field];
      if (name !== undefined) words[name] = [words[name], String(detail)].filter(Boolean).join(" ");
    }
    this.#mark(words);
    if (!this.#focusWrong()) {
      const { title, detail } = explain(error);
      this.#fail(`${title} ${detail}`);
    }
  }

  #mark(words) {
    for (const [name, field] of Object.entries(this.#fields)) {
      const text = words[name] ?? "";
      write(find(`#${name}-password-error`, this.#root), text);
      if (text === "") field.removeAttribute("aria-invalid");
      else field.setAttribute("aria-invalid", "true");
    }
  }

  #focusWrong() {
    const wrong = Object.values(this.#fields).find((field) => field.hasAttribute("aria-invalid"));
    wrong?.focus();
    return wrong !== undefined;
  }

  #fail(words) {
    const box = find("[data-box]", this.#root);
    box.hidden = words === "";
    write(box, words);
  }
}
