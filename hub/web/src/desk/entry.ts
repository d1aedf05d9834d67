// The ways in besides a password: registering, a forgotten password, a mailed link, the first admin of a new hub.
import { element } from "../dom.ts";
import { problem as trouble, asProblem } from "../problem.ts";
import type { View } from "../view.ts";
import { type Field, Form } from "./form.ts";
import { plainly } from "./request.ts";
import { type Desk, room } from "./room.ts";

/** What the hub asks of a password, at least; it knows more than a length. */
const LEAST = 8;

export const newPassword = ({ words }: Desk, name: string): Field => ({
  name,
  label: words.newPassword,
  type: "password",
  autocomplete: "new-password",
  hint: words.passwordHint(LEAST),
  least: LEAST,
});

const who = ({ words }: Desk): Field[] => [
  { name: "name", label: words.name, autocomplete: "name", most: 100 },
  { name: "email", label: words.email, type: "email", autocomplete: "username", most: 254 },
];

/** A form that is replaced by what came of it. */
function once(title: string, lead: string, make: (done: (...parts: Node[]) => void) => Form): View {
  const stage = element("div", { class: "panel narrow" });
  const done = (...parts: Node[]) => {
    stage.replaceChildren(...parts);
    stage.tabIndex = -1;
    stage.focus();
  };
  stage.append(make(done).element);
  return room(title, [element("p", { class: "summary" }, lead), stage]);
}

const toSignIn = ({ words }: Desk, text: string): Node[] => [
  element("p", { class: "done", role: "status" }, text),
  element("p", {}, element("a", { href: "/signin" }, words.signIn)),
];

export function registerView(desk: Desk): View {
  const { words } = desk;
  return once(words.register, words.registerLead, (done) =>
    new Form(desk, {
      fields: [...who(desk), newPassword(desk, "password")],
      submit: words.register,
      links: [element("a", { href: "/signin" }, words.haveAccount)],
      send: async (values) => {
        const body = { name: values.name, email: values.email?.trim(), password: values.password };
        const said = await plainly<{ verification: string }>("POST", "/auth/register", body);
        done(...toSignIn(desk, said?.verification === "sent" ? words.registeredMail : words.registered));
      },
    }),
  );
}

export function forgotView(desk: Desk): View {
  const { words } = desk;
  return once(words.forgotPassword, words.forgotLead, (done) =>
    new Form(desk, {
      fields: [{ name: "email", label: words.email, type: "email", autocomplete: "username", most: 254 }],
      submit: words.sendLink,
      send: async (values) => {
        await plainly("POST", "/auth/password/forgot", { email: values.email?.trim() });
        done(...toSignIn(desk, words.linkSent));
      },
    }),
  );
}

/** The secret is in the page's memory already; the address does not show it. */
export function resetView(desk: Desk): View {
  const { words } = desk;
  const token = desk.page.handed();
  if (token === null) return room(words.setPassword, [element("p", {}, words.linkGone), element("p", {}, element("a", { href: "/forgot" }, words.forgotPassword))]);
  return once(words.setPassword, words.setPasswordLead, (done) =>
    new Form(desk, {
      fields: [newPassword(desk, "new")],
      submit: words.setPassword,
      send: async (values) => {
        await plainly("POST", "/auth/password/reset", { token, new: values.new });
        done(...toSignIn(desk, words.passwordSet));
      },
    }),
  );
}

export function verifyView(desk: Desk): View {
  const { words } = desk;
  const token = desk.page.handed();
  const said = element("div", { class: "panel narrow", "aria-live": "polite" }, element("p", {}, token === null ? words.linkGone : `${words.loading} …`));
  const verify = () => {
    plainly("POST", "/auth/email/verify", { token }).then(
      () => said.replaceChildren(element("p", { class: "done" }, words.emailVerified), element("p", {}, element("a", { href: "/account" }, words.account))),
      (error: unknown) => said.replaceChildren(trouble(asProblem(error), desk.page.words, false, verify)),
    );
  };
  if (token !== null) verify();
  return room(words.verifyEmail, [said]);
}

export function setupView(desk: Desk): View {
  const { words } = desk;
  const token = desk.page.handed();
  const asked: Field[] = token === null ? [{ name: "token", label: words.setupToken, hint: words.setupTokenHint, autocomplete: "off" }] : [];
  return once(words.setup, words.setupLead, (done) =>
    new Form(desk, {
      fields: [...asked, ...who(desk), newPassword(desk, "password")],
      submit: words.makeAdmin,
      send: async (values) => {
        const body = { token: (token ?? values.token ?? "").trim(), name: values.name, email: values.email?.trim(), password: values.password };
        await plainly("POST", "/auth/setup", body);
        done(...toSignIn(desk, words.setupDone));
      },
    }),
  );
}
