/**
 * The protocol of a Fluxbase client, in the newer contract: subscriptions with ids, and channels.
 */
import { identityOf } from "./token.js";

/** The dialect's part of one socket; {@link import("./foreign-client.js").ForeignClient} owns the socket. */
export class Fluxbase {
	static protocol = { id: "fluxbase", title: "Fluxbase", isForeign: true, needsToken: false, hasWildcard: false, hasTopics: true };
	protocol = Fluxbase.protocol;
	heartbeat = { every: 30_000, frame: { type: "heartbeat" } };
	#who;
	/** What each subscription is to, and the server's id for it. @type {Map<string, {target: object, granted?: string}>} */
	#standing = new Map();

	constructor(who) {
		this.#who = who;
	}

	get address() {
		const { token } = this.#who;
		return `/realtime${token ? `?${new URLSearchParams({ token })}` : ""}`;
	}

	/** No frame contains the identity. */
	opened() {
		for (const one of this.#standing.values()) one.granted = undefined;
		const { token } = this.#who;
		return [{ identity: token ? identityOf(token) : { userId: null, roles: ["anon"], authMethod: "none" } }];
	}

	subscribe(id, target) {
		this.#standing.set(id, { target });
		return [askFor(target)];
	}

	unsubscribe(id) {
		const { target, granted } = this.#standing.get(id) ?? {};
		this.#standing.delete(id);
		if (target?.topic === undefined) return granted ? [{ type: "unsubscribe", subscription_id: granted }] : [];
		// Ending a channel also ends every subscription with an id.
		const tables = [...this.#standing.values()].filter((one) => one.target.topic === undefined);
		for (const one of tables) one.granted = undefined;
		return [{ type: "unsubscribe", channel: target.topic }, ...tables.map((one) => askFor(one.target))];
	}

	send(messageId, { topic, isPrivate, event, payload }) {
		return [{ type: "broadcast", channel: topic, event, payload, messageId, ...(!isPrivate && { private: false }) }];
	}

	/** The meaning of a frame. */
	read(frame) {
		switch (frame.type) {
			case "ack":
				return this.#acknowledged(frame);
			case "error":
				return [this.#refused(frame)];
			case "postgres_changes":
				return [{ ids: this.#idsOf(frame.subscription_ids ?? []), event: changeOf(frame) }];
			case "broadcast":
				return this.#message(frame);
			default:
				return [];
		}
	}

	#acknowledged({ payload, messageId }) {
		if (messageId !== undefined) return [{ sent: messageId }];
		if (!payload?.subscribed) return [];
		const { channel, subscription_id: granted } = payload;
		const id = channel === undefined ? this.#waitingFor(payload) : this.#inTopic(channel);
		if (id === undefined) return [];
		if (granted) this.#standing.get(id).granted = granted;
		return [{ standing: id }];
	}

	#refused({ channel, error: message, code = "error", messageId, subscription_id: granted }) {
		const error = { code, message };
		if (messageId !== undefined) return { unsent: messageId, error };
		const id = granted ? this.#idsOf([granted])[0] : (this.#inTopic(channel) ?? this.#waitingIn(channel));
		return id === undefined ? { error } : { refused: id, error };
	}

	#message({ channel, payload, offset }) {
		const { event, payload: said } = payload.broadcast ?? {};
		if (event === undefined) return [];
		const id = this.#inTopic(channel);
		return [{ ids: id === undefined ? [] : [id], event: { type: "broadcast", event, topic: channel, payload: said, ...(offset !== undefined && { offset }) } }];
	}

	#find(isIt) {
		return [...this.#standing].find(([, one]) => isIt(one))?.[0];
	}

	#inTopic(channel) {
		return channel === undefined ? undefined : this.#find(({ target }) => target.topic === channel);
	}

	#waitingFor({ schema, table, event, filter }) {
		const isIt = (target) => target.schema === schema && target.table === table && target.event === event && (target.filter ?? "") === (filter ?? "");
		return this.#find(({ target, granted }) => granted === undefined && isIt(target));
	}

	#waitingIn(channel) {
		return this.#find(({ target, granted }) => granted === undefined && `table:${target.schema}.${target.table}` === channel);
	}

	#idsOf(granted) {
		return [...this.#standing].filter(([, one]) => granted.includes(one.granted)).map(([id]) => id);
	}
}

function askFor({ topic, private: isPrivate, table, schema, event, filter }) {
	if (topic !== undefined) return { type: "subscribe", channel: topic, ...(!isPrivate && { private: false }) };
	return { type: "subscribe", config: { table, schema, event, ...(filter && { filter }) } };
}

function changeOf({ payload: { type, schema, table, record, old_record: old }, offset }) {
	return { type: "postgres_changes", schema, table, eventType: type, new: record ?? null, old: old ?? null, ...(offset !== undefined && { offset }) };
}
