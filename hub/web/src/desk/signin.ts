// Address and password, then a code where the account asks for one -> somebody is signed in, at the address they came for.
import { Problem } from "../api.ts";
import { element } from "../dom.ts";
import type { View } from "../view.ts";
import { Form } from "./form.ts";
import { kindOf } from "./request.ts";
import { type Desk, room } from "./room.ts";

export function signInView(desk: Desk, wanted: string | null): View {
  const { words, session, page } = desk;
  const stage = element("div", { class: "panel narrow" });
  const arrive = () => {
    if (wanted === null) page.go("/account"); // else whoever opened this view opens what was wanted
  };
  const links = [
    element("a", { href: "/forgot" }, words.forgotPassword),
    element("a", { href: "/register" }, words.register),
  ];
  const code = (given: { email: string; password: string }) => {
    const second = new Form(desk, {
      fields: [{ name: "code", label: words.code, hint: words.codeHint, autocomplete: "one-time-code", most: 40 }],
      submit: words.signIn,
      send: async (values) => {
        await session.signIn({ ...given, code: (values.code ?? "").replace(/\s/g, "") });
        arrive();
      },
    });
    stage.replaceChildren(element("p", {}, words.codeLead), second.element);
    second.focus();
  };
  const first = new Form(desk, {
    fields: [
      { name: "email", label: words.email, type: "email", autocomplete: "username", most: 254 },
      { name: "password", label: words.password, type: "password", autocomplete: "current-password" },
    ],
    submit: words.signIn,
    links,
    send: async ({ email = "", password = "" }) => {
      const given = { email: email.trim(), password };
      try {
        await session.signIn(given);
        arrive();
      } catch (error) {
        if (!(error instanceof Problem && kindOf(error) === "code-required")) throw error;
        code(given);
      }
    },
  });
  stage.append(first.element);
  const insecure = isSecureContext ? null : element("p", { class: "hint" }, words.insecure);
  const lead = wanted === null ? null : element("p", { class: "summary" }, words.signInFirst);
  return room(words.signIn, [lead, stage, insecure]);
}
