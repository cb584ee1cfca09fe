/**
 * Someone who listens to `messages` through every death: who comes back, and goes on where the last socket ended.
 */
import assert from "node:assert/strict";
import { join } from "./fixture.mjs";

const subscriptions = [{ id: "m", table: "messages" }];
const isChange = ({ type }) => type === "postgres_changes";

export class Follower {
	/** What this one was told, each as `INSERT body`. */
	told = [];
	/** How many times this one has come back. */
	returns = 0;
	/** Why this one has given up, who had to be told everything and was not. */
	error;
	/** The longest time between a socket's end and the next change, in milliseconds. */
	longestGap = 0;
	#user;
	#serving;
	#position = true;
	#client;
	#isOver = false;
	#done;

	/**
	 * @param {string} user
	 * @param {() => Promise<object>} serving gives the server, as soon as there is one
	 */
	constructor(user, serving) {
		[this.#user, this.#serving] = [user, serving];
	}

	/** Is there, and stays. */
	async begin() {
		await this.#join();
		this.#done = this.#stay().catch((error) => (this.error = error));
	}

	/** Waits for so many changes in all, and for all that was sent before it asks; then leaves. */
	async leaveAfter(count) {
		while (this.#count() < count) {
			if (this.error) throw this.error;
			await this.#client.next(isChange).catch((error) => {
				if (this.#client.socket.readyState !== this.#client.socket.CLOSED) throw error;
				return this.#back;
			});
		}
		await this.#client.sync('{"type": "ping"}', ({ type }) => type === "pong");
		this.#isOver = true;
		this.#client.socket.close();
		await this.#done;
	}

	/** Settles when the next socket stands. */
	#back;

	#count() {
		return this.told.length + this.#client.frames.filter(isChange).length;
	}

	async #stay() {
		while (!this.#isOver) {
			let isBack;
			this.#back = new Promise((resolve) => (isBack = resolve));
			await this.#client.closed;
			this.#takeIn();
			if (this.#isOver) return;
			const lost = Date.now();
			await this.#rejoin();
			this.returns += 1;
			this.#time(lost);
			isBack();
		}
	}

	/** Notes how long it takes until there are changes again. */
	#time(lost) {
		const client = this.#client;
		const watch = () => {
			if (!client.frames.some(isChange)) return;
			client.socket.off("message", watch);
			this.longestGap = Math.max(this.longestGap, Date.now() - lost);
		};
		client.socket.on("message", watch);
	}

	async #rejoin() {
		for (;;) {
			const isHere = await this.#join().then(() => true, (error) => {
				// A server that is just dying takes nobody in; one that forgot where somebody was is the failure to find.
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
		} else assert.equal(recovered, true, JSON.stringify(client.welcome));
		this.#client = client;
	}

	/** Takes in what a socket brought. */
	#takeIn() {
		const changes = this.#client.frames.filter(isChange);
		for (const change of changes) this.told.push(`${change.eventType} ${(change.new ?? change.old).body}`);
		this.#position = { ...this.#position, offset: changes.at(-1)?.offset ?? this.#position.offset };
		this.#client.frames.length = 0;
	}
}
