// An account -> its second factor: on with a picture to scan, a first code and the password, off with the password and a code.
import { request } from "./request.ts";
import { element } from "../dom.ts";
import type { Account } from "./session.ts";
import { action, Form } from "./form.ts";
import { type Desk, section } from "./room.ts";
import { copyable, once } from "./shown.ts";

interface Begun {
  secret: string;
  uri: string;
  qr: string;
}

/** The hub's drawing as a picture: nothing in it can run, and no style of it is ours to allow. */
function picture(svg: string, alt: string): HTMLElement {
  // Within a page a drawing needs no namespace, as a picture of its own it does.
  const whole = svg.includes("xmlns=") ? svg : svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"');
  const bytes = new TextEncoder().encode(whole);
  const data = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return element("img", { class: "qr", src: `data:image/svg+xml;base64,${data}`, alt, width: 220, height: 220 });
}

export function totpSection(desk: Desk, account: Account): HTMLElement {
  const { words } = desk;
  const stage = element("div", { class: "part" });
  const show = (on: boolean) => stage.replaceChildren(...(on ? switchedOn(desk, () => show(false)) : switchedOff(desk, stage)));
  show(account.totp);
  return section(words.secondFactor, stage);
}

function switchedOff(desk: Desk, stage: HTMLElement): Node[] {
  const { words } = desk;
  const begin = action(
    desk,
    words.switchOn,
    async () => {
      const begun = await request<Begun>("POST", "/auth/totp", { body: {} });
      const form = confirm(desk, stage);
      stage.replaceChildren(
        element("p", {}, words.scan),
        picture(begun.qr, words.scan),
        copyable(desk, words.typeInstead, begun.secret, "totp-secret"),
        form.element,
      );
      form.focus();
    },
    "main",
  );
  return [element("p", {}, words.secondFactorOff), element("div", { class: "foot" }, begin)];
}

function confirm(desk: Desk, stage: HTMLElement): Form {
  const { words, session } = desk;
  return new Form(desk, {
    fields: [
      { name: "code", label: words.firstCode, autocomplete: "one-time-code", most: 10 },
      { name: "password", label: words.password, type: "password", autocomplete: "current-password" },
    ],
    submit: words.switchOn,
    username: session.account?.email ?? "",
    send: async (values) => {
      const code = (values.code ?? "").replace(/\s/g, "");
      const { recovery_codes } = await request<{ recovery_codes: string[] }>("POST", "/auth/totp/confirm", { body: { password: values.password, code } });
      if (session.account) session.became({ ...session.account, totp: true });
      stage.replaceChildren(
        element("p", { class: "done" }, words.secondFactorOn),
        once(desk, words.recoveryCodes, element("p", {}, words.recoveryLead), copyable(desk, words.recoveryCodes, recovery_codes.join("\n"), "recovery")),
      );
    },
  });
}

function switchedOn(desk: Desk, off: () => void): Node[] {
  const { words, session } = desk;
  const form = new Form(desk, {
    fields: [
      { name: "password", label: words.password, type: "password", autocomplete: "current-password" },
      { name: "code", label: words.code, hint: words.codeHint, autocomplete: "one-time-code", most: 40 },
    ],
    submit: words.switchOff,
    username: session.account?.email ?? "",
    send: async (values) => {
      const body = { password: values.password, code: (values.code ?? "").replace(/\s/g, "") };
      await request("POST", "/auth/totp/remove", { body });
      if (session.account) session.became({ ...session.account, totp: false });
      off();
    },
  });
  return [element("p", {}, words.secondFactorOn), form.element];
}
