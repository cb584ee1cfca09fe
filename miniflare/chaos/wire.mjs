/**
 * The network between clients and the Worker: an address that stays while the Worker comes and goes, and connections
 * that break, with or without notice.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Wire {
	#server;
	#lines = new Set();
	/** The Worker's port; `undefined` while there is none. */
	target;
	/** Whether connections are opened one at a time. */
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

	/** Ends some of the connections. */
	cut(chance) {
		for (const line of this.#some(chance)) line.near.destroy();
	}

	/** From now on some connections carry nothing more, and neither side is informed. */
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

	/** Does something while no connection is opened, if they are opened one at a time. */
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

	/** Resolves when the Worker has answered on the connection, or it has ended. */
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
