// Fields in; a form out that says its mistakes where they are, in words, and sends once.
import type { Problem } from "../api.ts";
import { type Child, element } from "../dom.ts";
import { asProblem } from "../problem.ts";
import { kindOf, mistakesOf } from "./request.ts";
import { type Desk, explain } from "./room.ts";

export interface Field {
  name: string;
  label: string;
  type?: "text" | "email" | "password" | "number" | "datetime-local" | "select" | "checks";
  autocomplete?: AutoFill | undefined;
  hint?: string;
  value?: string;
  optional?: boolean;
  least?: number;
  most?: number;
  /** Of a select or of boxes to tick: value and words. */
  options?: [string, string][];
}

export type Values = Record<string, string>;

export interface Sending {
  fields: Field[];
  submit: string;
  /** Sends. Throws Problem, which the form shows. */
  send: (values: Values) => Promise<void>;
  /** Whose password it is, for password managers. */
  username?: string;
  /** Beside the button: where else to go. */
  links?: Child[];
}

let made = 0;

class Line {
  readonly element: HTMLElement;
  readonly field: Field;
  private readonly inputs: (HTMLInputElement | HTMLSelectElement)[];
  private readonly mistake: HTMLElement;

  constructor(field: Field, desk: Desk) {
    this.field = field;
    made += 1;
    const id = `field-${made}`;
    const hint = field.hint ? element("p", { class: "hint", id: `${id}-hint` }, field.hint) : null;
    this.mistake = element("p", { class: "mistake", id: `${id}-mistake`, hidden: true });
    const described = [hint && hint.id, this.mistake.id].filter(Boolean).join(" ");
    const optional = field.optional ? element("small", {}, ` ${desk.words.optional}`) : null;
    if (field.type === "checks") {
      this.inputs = (field.options ?? []).map(([value]) =>
        element("input", { type: "checkbox", name: field.name, value, checked: (field.value ?? "").split(" ").includes(value) }),
      );
      const boxes = (field.options ?? []).map(([, words], i) =>
        element("label", { class: "check" }, this.inputs[i], " ", words),
      );
      const legend = element("legend", {}, field.label, optional);
      this.element = element("fieldset", { class: "field", "aria-describedby": described }, legend, ...boxes, hint, this.mistake);
      return;
    }
    const input = this.input(id, described);
    this.inputs = [input];
    const shown = field.type === "password" ? element("div", { class: "secret" }, input, revealer(input, desk)) : input;
    const label = element("label", { for: id }, field.label, optional);
    this.element = element("div", { class: "field" }, label, hint, shown, this.mistake);
  }

  get value(): string {
    if (this.field.type !== "checks") return this.inputs[0]?.value ?? "";
    const ticked = this.inputs.filter((one) => (one as HTMLInputElement).checked);
    return ticked.map((one) => one.value).join(" ");
  }

  /** What is wrong before anything is sent, null for nothing. */
  check(desk: Desk): string | null {
    const { words } = desk;
    const { field, value } = this;
    const input = this.inputs[0];
    if (value.trim() === "" && input instanceof HTMLInputElement && input.validity.badInput) return words.notUsable;
    if (value.trim() === "") return field.optional ? null : field.type === "checks" ? words.tickOne : words.fillIn;
    if (input instanceof HTMLInputElement && input.validity.typeMismatch) return words.noEmail;
    if (field.least !== undefined && field.type !== "number" && value.length < field.least) return words.tooShort(field.least);
    return null;
  }

  tell(mistake: string | null): void {
    this.mistake.hidden = mistake === null;
    this.mistake.textContent = mistake ?? "";
    for (const input of this.inputs)
      if (mistake === null) input.removeAttribute("aria-invalid");
      else input.setAttribute("aria-invalid", "true");
  }

  focus(): void {
    this.inputs[0]?.focus();
  }

  clear(): void {
    if (this.field.type === "password" && this.inputs[0]) this.inputs[0].value = "";
  }

  private input(id: string, described: string): HTMLInputElement | HTMLSelectElement {
    const { field } = this;
    const common = { id, name: field.name, autocomplete: field.autocomplete, "aria-describedby": described };
    const required = !field.optional && "true";
    if (field.type === "select") {
      const options = (field.options ?? []).map(([value, words]) =>
        element("option", { value, selected: value === field.value }, words),
      );
      return element("select", { ...common, "aria-required": required }, ...options);
    }
    const plain = field.type === "email" || field.autocomplete === "one-time-code";
    return element("input", {
      ...common,
      type: field.type ?? "text",
      value: field.value,
      maxlength: field.type === "number" ? null : (field.most ?? 200),
      step: field.type === "number" ? "any" : null,
      "aria-required": required,
      spellcheck: plain || field.type === "password" ? "false" : null,
      autocapitalize: plain ? "none" : null,
    });
  }
}

/** A password that nobody can see is typed wrong on a phone. */
function revealer(input: HTMLInputElement | HTMLSelectElement, { words }: Desk): HTMLButtonElement {
  const button = element("button", { type: "button", class: "quiet", "aria-pressed": "false" }, words.show);
  button.addEventListener("click", () => {
    const open = input.getAttribute("type") === "password";
    input.setAttribute("type", open ? "text" : "password");
    button.setAttribute("aria-pressed", String(open));
  });
  return button;
}

export class Form {
  readonly element: HTMLFormElement;
  private readonly lines: Line[];
  private readonly said = element("div", { class: "said-by-hub", role: "alert" });
  private readonly button: HTMLButtonElement;
  private readonly desk: Desk;
  private readonly asked: Sending;
  private busy = false;

  constructor(desk: Desk, asked: Sending) {
    this.desk = desk;
    this.asked = asked;
    this.lines = asked.fields.map((field) => new Line(field, desk));
    this.button = element("button", { type: "submit", class: "main" }, asked.submit);
    const foot = element("div", { class: "foot" }, this.button, ...(asked.links ?? []));
    const name = asked.username;
    const whose = name && element("input", { type: "text", autocomplete: "username", value: name, readonly: true, hidden: true });
    this.element = element("form", { novalidate: true }, whose, this.said, ...this.lines.map((line) => line.element), foot);
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
  }

  focus(): void {
    this.lines[0]?.focus();
  }

  /** Something went well: said where the mistakes are said. */
  done(text: string): void {
    this.said.replaceChildren(element("p", { class: "done" }, text));
  }

  clear(): void {
    this.element.reset();
  }

  private async submit(): Promise<void> {
    if (this.busy) return;
    this.said.replaceChildren();
    if (!this.complete()) return;
    this.busy = true;
    this.element.setAttribute("aria-busy", "true");
    try {
      await this.asked.send(Object.fromEntries(this.lines.map((line) => [line.field.name, line.value])));
      for (const line of this.lines) line.clear();
    } catch (error) {
      this.fail(asProblem(error));
    } finally {
      this.busy = false;
      this.element.removeAttribute("aria-busy");
    }
  }

  private complete(): boolean {
    let first: Line | null = null;
    for (const line of this.lines) {
      const mistake = line.check(this.desk);
      line.tell(mistake);
      if (mistake !== null) first ??= line;
    }
    first?.focus();
    return first === null;
  }

  /** Mistakes that name a field stand at the field; the rest above all. */
  private fail(problem: Problem): void {
    let first: Line | null = null;
    for (const { name, why } of mistakesOf(problem)) {
      const line = this.lines.find((one) => one.field.name === name.split(".").at(-1));
      line?.tell(why);
      first ??= line ?? null;
    }
    const { title, text } = explain(this.desk, problem);
    this.said.replaceChildren(
      element("div", { class: "problem", "data-problem": kindOf(problem) || problem.status }, element("h2", {}, title), element("p", {}, text)),
    );
    (first ?? this.lines.find((line) => line.field.type === "password" || line.field.autocomplete === "one-time-code"))?.focus();
  }
}

/** A button that does one thing; what goes wrong is said beside it. */
export function action(desk: Desk, text: string, run: () => Promise<void>, kind = "quiet", label?: string): HTMLElement {
  const said = element("span", { role: "alert" });
  const button = element("button", { type: "button", class: kind, "aria-label": label }, text);
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    said.replaceChildren();
    run()
      .catch((error: unknown) => {
        const { title, text: why } = explain(desk, asProblem(error));
        said.replaceChildren(element("span", { class: "mistake" }, `${title}. ${why}`));
      })
      .finally(() => button.removeAttribute("aria-disabled"));
  });
  return element("span", { class: "action" }, button, said);
}
