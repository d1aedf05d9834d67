// Tag, attributes and children in; an element out. Text is only ever set as text: what a gateway names itself stays a name.

export type Child = Node | string | null | undefined | false;
export type Attributes = Record<string, string | number | boolean | null | undefined>;

/** Attributes of null, undefined or false are left out, true is an empty one. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  return made;
}

/** Sets text only where it differs: a screen reader and a selection are left alone. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Makes `wanted` the children; nodes that stay in place are not moved, because moving one takes its focus. */
export function fill(parent: Element, wanted: readonly Node[]): void {
  const same = wanted.length === parent.childNodes.length && wanted.every((node, i) => parent.childNodes[i] === node);
  if (!same) parent.replaceChildren(...wanted);
}
