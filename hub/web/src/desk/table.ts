// Columns and rows in; a table out that a narrow screen shows as one card per row, still a table to a screen reader.
import { type Child, element } from "../dom.ts";

export interface Column {
  title: string;
  /** Sorted by it: what a click on its head asks for, and how it is sorted now. */
  sort?: { href: string; now: "ascending" | "descending" | "none" };
  number?: boolean;
}

/** `rows`: one child per column, the first being the row's name. */
export function table(caption: string, columns: (string | Column)[], rows: { cells: Child[]; data?: Record<string, string> }[]): HTMLElement {
  const heads = columns.map((one): Column => (typeof one === "string" ? { title: one } : one));
  const head = element("tr", { role: "row" }, ...heads.map(heading));
  const body = rows.map(({ cells, data }) => {
    const made = cells.map((cell, i) => {
      const { title = "", number } = heads[i] ?? {};
      const attributes = { "data-label": title, class: number && "value" };
      return i === 0
        ? element("th", { scope: "row", role: "rowheader", ...attributes }, cell)
        : element("td", { role: "cell", ...attributes }, cell);
    });
    const marks = Object.fromEntries(Object.entries(data ?? {}).map(([name, value]) => [`data-${name}`, value]));
    return element("tr", { role: "row", ...marks }, ...made);
  });
  return element(
    "table",
    { class: "rows", role: "table" },
    element("caption", {}, caption),
    element("thead", { role: "rowgroup" }, head),
    element("tbody", { role: "rowgroup" }, ...body),
  );
}

function heading({ title, sort, number }: Column): HTMLElement {
  const attributes = { scope: "col", role: "columnheader", class: number && "value" };
  if (!sort) return element("th", attributes, title);
  const mark = { ascending: " ↑", descending: " ↓", none: "" }[sort.now];
  return element(
    "th",
    { ...attributes, "aria-sort": sort.now },
    element("a", { href: sort.href }, title, mark && element("span", { "aria-hidden": "true" }, mark)),
  );
}

/** Names and values under each other; what is null is left out. */
export function facts(list: [string, Child][]): HTMLElement {
  const made = element("dl", { class: "place" });
  for (const [name, value] of list)
    if (value !== null && value !== undefined && value !== "")
      made.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  return made;
}
