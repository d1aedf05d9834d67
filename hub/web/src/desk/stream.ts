// An answer of /live that carries a token in; its events out, as the browser's own EventSource gives them, which can send no token.

/** One event: `event: sample`, `id: 7.0`, `data: {...}`. Null for a comment. No I/O here. */
export function parsed(block: string): { event: string; id: string; data: string } | null {
  const told = { event: "message", id: "", data: "" };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "data") told.data += told.data === "" ? value : `\n${value}`;
    else if (name === "event" || name === "id") told[name] = value;
  }
  return told.data === "" ? null : told;
}

export class Stream extends EventTarget {
  private readonly ending = new AbortController();

  constructor(opened: (signal: AbortSignal) => Promise<Response>) {
    super();
    this.run(opened).catch(() => undefined).finally(() => {
      if (!this.ending.signal.aborted) this.dispatchEvent(new Event("error"));
    });
  }

  close(): void {
    this.ending.abort();
  }

  /** Until it ends or breaks; who listens opens another one. */
  private async run(opened: (signal: AbortSignal) => Promise<Response>): Promise<void> {
    const { ok, body } = await opened(this.ending.signal);
    if (!ok || body === null) return;
    this.dispatchEvent(new Event("open"));
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) this.say(block);
    }
  }

  private say(block: string): void {
    const told = parsed(block);
    if (told === null || this.ending.signal.aborted) return;
    this.dispatchEvent(new MessageEvent(told.event, { data: told.data, lastEventId: told.id }));
  }
}
