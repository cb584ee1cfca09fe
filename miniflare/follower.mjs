/**
 * A client that subscribes to `messages` through every failure: it reconnects, and continues where the last socket
 * ended.
 *
 * Frames are processed as they arrive, because one life may bring a hundred thousand.
 */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { join } from "./fixture.mjs";

const subscriptions = [{ id: "m", table: "messages" }];
/** How long nothing may arrive while something is missing; only a failing run waits that long. */
const PATIENCE = 60_000;

export class Follower {
	/** What it received, each as `INSERT body`. */
	told = [];
	/** How many times it has reconnected. */
	returns = 0;
	/** Why it has given up, if its recovery failed although it must not. */
	error;
	/** The longest time between the end of a socket and the next change, in milliseconds. */
	longestGap = 0;
	#user;
	#serving;
	#position = true;
	#client;
	#isOver = false;
	#done;
	/** When the last socket ended, until there are changes again. */
	#lost;
	#events = new EventEmitter();

	/**
	 * @param {string} user
	 * @param {() => Promise<object>} serving gives the server, as soon as there is one
	 */
	constructor(user, serving) {
		[this.#user, this.#serving] = [user, serving];
	}

	/** Connects, and stays connected. */
	async begin() {
		await this.#join();
		this.#done = this.#stay().catch((error) => {
			this.error = error;
			this.#events.emit("news");
		});
	}

	/** Waits for this many changes in all, and for everything that was sent before it asks; then disconnects. */
	async leaveAfter(count) {
		while (this.told.length < count) await this.#news(`${this.#user} was told ${this.told.length} of ${count} changes`);
		let isAnswered = false;
		this.#events.once("pong", () => (isAnswered = true));
		this.#client.send({ type: "ping" });
		while (!isAnswered) await this.#news(`${this.#user} got no answer to a ping`);
		this.#isOver = true;
		this.#client.socket.close();
		await this.#done;
	}

	async #news(missing) {
		if (this.error) throw this.error;
		await once(this.#events, "news", { signal: AbortSignal.timeout(PATIENCE) }).catch(() => {
			throw new Error(missing);
		});
	}

	async #stay() {
		while (!this.#isOver) {
			await this.#client.closed;
			if (this.#isOver) return;
			this.#lost ??= Date.now();
			await this.#rejoin();
			this.returns += 1;
		}
	}

	async #rejoin() {
		for (;;) {
			const isHere = await this.#join().then(() => true, (error) => {
				// A server that is being killed refuses everyone; a server that forgot a position is the failure to find.
				if (error instanceof assert.AssertionError) throw error;
				return false;
			});
			if (isHere) return;
		}
	}

	async #join() {
		const client = await join(await this.#serving(), this.#user, ["authenticated"], { recover: this.#position, subscriptions });
		const { epoch, offset, recovered } = client.welcome;
		if (this.#position === true) {
			await client.next(({ type }) => type === "subscribed");
			this.#position = { epoch, offset };
		} else if (!recovered && (await client.next()).code === "source_unavailable") {
			// PostgreSQL is still starting; the position can be used later.
			client.socket.close();
			throw new Error("come back later");
		} else assert.equal(recovered, true, `${this.#user} at ${JSON.stringify(this.#position)}: ${JSON.stringify(client.welcome)}`);
		this.#client = client;
		const take = () => client.drain().forEach((frame) => this.#take(frame));
		client.socket.on("message", take);
		take();
	}

	/** Records what a socket delivered. */
	#take(frame) {
		if (frame.type === "postgres_changes") {
			this.told.push(`${frame.eventType} ${(frame.new ?? frame.old).body}`);
			this.#position = { ...this.#position, offset: frame.offset };
			if (this.#lost) this.longestGap = Math.max(this.longestGap, Date.now() - this.#lost);
			this.#lost = undefined;
		} else if (frame.type === "pong") this.#events.emit("pong");
		this.#events.emit("news");
	}
}
