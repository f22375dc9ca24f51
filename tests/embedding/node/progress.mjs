// How far a sync is, for people: one line, which a terminal shows over and over, and a file gets now and then.

/** What a connector last reported of each kind of thing. */
export class Progress {
    #counts = new Map();
    #shown = '';
    #next;

    constructor(stream) {
        this.stream = stream;
        this.pause = stream.isTTY ? 100 : 10_000;
        this.#next = performance.now() + this.pause;
    }

    /** `done` of `total` are done; `total` is undefined while that is not known. */
    report(what, done, total) {
        this.#counts.set(what, [done, total]);
        if (performance.now() >= this.#next) this.show();
    }

    /** The line, if it has something new to say. */
    show() {
        // What has an end comes first; what has not happened is not worth a word.
        const counts = [...this.#counts];
        const line = [
            ...counts.filter(([, [, total]]) => total !== undefined).map(([what, [done, total]]) => `${done} of ${total} ${what}`),
            ...counts.filter(([, [done, total]]) => total === undefined && done > 0).map(([what, [done]]) => `${done} ${what}`),
        ].join(', ');
        if (line && line !== this.#shown) {
            this.clear();
            this.stream.write(this.stream.isTTY ? line : `${line}\n`);
        }
        this.#shown = line;
        this.#next = performance.now() + this.pause;
    }

    /** Makes room for another line. */
    clear() {
        if (this.stream.isTTY) this.stream.write('\r\u001b[K');
        this.#shown = '';
    }

    /** The last line stays. */
    end() {
        this.show();
        if (this.stream.isTTY && this.#shown) this.stream.write('\n');
    }
}
