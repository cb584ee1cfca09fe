/**
 * The network between clients and the Worker: an address that stays while the Worker comes and goes, and lines that break,
 * with a word or without.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Wire {
	#server;
	#lines = new Set();
	/** The port behind which the Worker is; `undefined` while there is none. */
	target;
	/** Whether one line at a time is opened. */
	isOrderly = false;
	#turn = Promise.resolve();

	static async open() {
		const wire = new Wire();
		wire.#server = createServer((near) => wire.#join(near));
		wire.#server.listen(0, "127.0.0.1");
		await once(wire.#server, "listening");
		return wire;
	}

	get url() {
		return `http://127.0.0.1:${this.#server.address().port}`;
	}

	/** Ends some of the lines. */
	cut(chance) {
		for (const line of this.#some(chance)) line.near.destroy();
	}

	/** From now on some lines carry nothing more, and neither side is told. */
	silence(chance) {
		for (const { near, far } of this.#some(chance)) {
			near.unpipe();
			far.unpipe();
			near.resume();
			far.resume();
		}
	}

	close() {
		this.cut(1);
		return new Promise((resolve) => this.#server.close(resolve));
	}

	#some(chance) {
		return [...this.#lines].filter(() => Math.random() < chance);
	}

	/** Does something that no line is opened beside, where lines are opened one at a time. */
	inTurn(act) {
		if (!this.isOrderly) return act();
		const turn = this.#turn.then(act);
		this.#turn = turn.catch(() => {});
		return turn;
	}

	#join(near) {
		near.on("error", () => {});
		this.inTurn(() => this.#open(near));
	}

	/** Settles when the Worker has answered on the line, or it has ended. */
	async #open(near) {
		if (this.target === undefined || near.destroyed) return near.destroy();
		const far = connect(this.target, "127.0.0.1");
		const line = { near, far };
		this.#lines.add(line);
		for (const [one, other] of [[near, far], [far, near]]) {
			one.on("error", () => {});
			one.on("close", () => {
				this.#lines.delete(line);
				other.destroy();
			});
			one.pipe(other);
		}
		await new Promise((resolve) => {
			far.once("data", resolve);
			far.once("close", resolve);
		});
	}
}
