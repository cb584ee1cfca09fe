/**
 * A connection's interests: tables, topics, and presence.
 */

/** The key of presence without a topic. */
export const LOBBY = "";

/**
 * One subscription as people see it. The default one, to every change, stands for as long as there is no other to a table:
 * that is how a connection without subscriptions behaves, while the client narrows from the beginning.
 *
 * @typedef {{target: object, isDefault: boolean, state: "idle" | "asked" | "standing" | "refused", error?: Error,
 *   presenceError?: Error, count: number, off: () => void}} Interest
 */

/** The subscriptions and presences of a link. They outlive its clients. */
export class Interests {
	/** @type {Interest[]} */
	list = [];
	/** The members, by topic; {@link LOBBY} for the lobby. */
	rosters = new Map();
	/** This connection's own metadata, by topic. */
	tracked = new Map();
	#client;
	/** Whether one subscription may be to every table. */
	#hasWildcard = true;
	#changed;

	/** @param {() => void} changed is called whenever something here changes */
	constructor(changed) {
		this.#changed = changed;
		this.#ensureDefault();
	}

	/** Moves everything to a new client, of a protocol. */
	attach(client, { hasWildcard }) {
		this.#client = client;
		this.#hasWildcard = hasWildcard;
		if (!hasWildcard) this.list = this.list.filter(({ isDefault }) => !isDefault);
		this.rosters.clear();
		client.presence.on((members) => this.#show(LOBBY, members));
		for (const interest of this.list) this.#startAgain(interest);
		this.#ensureDefault();
		for (const [place, { isPrivate, metadata }] of this.tracked) this.#presence(place, isPrivate).track(metadata);
	}

	/**
	 * Subscribes.
	 *
	 * @param {{table: string, schema: string, event: string, filter?: string} | {topic: string, private: boolean, presence: boolean}} target
	 * @throws {TypeError} when the topic is in use in the other space
	 */
	add(target) {
		const interest = { target, isDefault: false, state: "idle", count: 0, off: () => {} };
		this.#start(interest);
		this.list.push(interest);
		if ("table" in target) for (const one of this.list.filter(({ isDefault }) => isDefault)) this.#take(one);
		this.#changed();
	}

	remove(interest) {
		this.#take(interest);
		this.#ensureDefault();
		this.#changed();
	}

	/** Makes this connection present; `undefined` metadata ends its presence. */
	track(place, isPrivate, metadata) {
		const presence = this.#presence(place, isPrivate);
		if (metadata === undefined) {
			this.tracked.delete(place);
			presence?.untrack();
			if (place === LOBBY) this.rosters.delete(LOBBY);
		} else {
			this.tracked.set(place, { isPrivate, metadata });
			presence?.track(metadata);
		}
		this.#changed();
	}

	/** A refusal that arrived after the answer, or that concerns presence; returns whether it concerned something here. */
	refused(error) {
		const { table, topic, schema, event, filter, presence } = error.target ?? {};
		const isMeant = ({ target }) =>
			"topic" in target
				? target.topic === topic
				: target.table === table && target.schema === schema && target.event === event && target.filter === filter;
		const interest = this.list.find(isMeant);
		if (!interest) return false;
		if (presence) interest.presenceError = error;
		else Object.assign(interest, { state: "refused", error });
		return true;
	}

	#start(interest) {
		if (!this.#client) return;
		const { table, topic, schema, event, filter, presence, private: isPrivate } = interest.target;
		const heard = () => (interest.count += 1);
		const isTopic = topic !== undefined;
		const place = isTopic && this.#client.topic(topic, { private: isPrivate });
		const subscription = isTopic ? place.on("*", heard) : this.#client.on(table, event, heard, { schema, filter });
		const watching = isTopic && presence ? place.presence.on((members) => this.#show(topic, members)) : undefined;
		Object.assign(interest, { state: "asked", error: undefined, presenceError: undefined });
		interest.off = () => [subscription, watching].forEach((one) => one?.off());
		const answered = (answer) => {
			Object.assign(interest, answer);
			this.#changed();
		};
		subscription.ready.then(
			() => answered({ state: "standing" }),
			(error) => answered({ state: "refused", error }),
		);
	}

	/** Interests that were added without a connection may conflict: a topic of the same name, both private and public. */
	#startAgain(interest) {
		try {
			this.#start(interest);
		} catch (error) {
			Object.assign(interest, { state: "refused", error });
		}
	}

	#take(interest) {
		interest.off();
		this.list = this.list.filter((one) => one !== interest);
		if (interest.target.topic !== undefined) this.rosters.delete(interest.target.topic);
	}

	#ensureDefault() {
		if (!this.#hasWildcard || this.list.some(({ target }) => "table" in target)) return;
		const interest = { target: { table: "*", schema: "*", event: "*" }, isDefault: true, state: "idle", count: 0, off: () => {} };
		this.list.unshift(interest);
		this.#start(interest);
	}

	#presence(place, isPrivate) {
		return place === LOBBY ? this.#client?.presence : this.#client?.topic(place, { private: isPrivate }).presence;
	}

	#show(place, members) {
		this.rosters.set(place, members);
		this.#changed();
	}
}
