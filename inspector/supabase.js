/**
 * The protocol of a Supabase client, in version 1.0.0: one channel for each subscription.
 */
import { identityOf } from "./token.js";

/** The topic of the socket itself. */
const PHOENIX = "phoenix";
const PREFIX = "realtime:";

/** The dialect's part of one socket; {@link import("./foreign-client.js").ForeignClient} owns the socket. */
export class Supabase {
	static protocol = { id: "supabase", title: "Supabase", isForeign: true, needsToken: true, hasWildcard: true, hasTopics: true };
	protocol = Supabase.protocol;
	/** Keeps the server from considering the socket dead. */
	heartbeat = { every: 25_000, frame: { topic: PHOENIX, event: "heartbeat", payload: {}, ref: "heartbeat" } };
	#who;
	/** The subscription of each channel. */
	#channels = new Map();

	constructor(who) {
		this.#who = who;
	}

	get address() {
		return `/realtime/v1/websocket?${new URLSearchParams({ apikey: this.#who.token, vsn: "1.0.0" })}`;
	}

	/** The meaning of an open socket: no frame contains the identity. */
	opened() {
		return [{ identity: identityOf(this.#who.token) }];
	}

	subscribe(id, { topic: name, private: isPrivate = false, table, schema, event, filter }) {
		const topic = PREFIX + (name ?? `inspector-${id}`);
		this.#channels.set(topic, id);
		const tables = name === undefined ? [{ event, schema, ...(table !== "*" && { table }), ...(filter && { filter }) }] : [];
		const config = { private: isPrivate, broadcast: { self: true, ack: true }, presence: { enabled: false }, postgres_changes: tables };
		return [{ topic, event: "phx_join", payload: { config }, ref: id, join_ref: id }];
	}

	unsubscribe(id) {
		const topic = this.#topicOf(id);
		this.#channels.delete(topic);
		return [{ topic, event: "phx_leave", payload: {}, ref: `leave ${id}`, join_ref: id }];
	}

	send(ref, { topic: name, event, payload }) {
		const topic = PREFIX + name;
		if (!this.#channels.has(topic)) throw new TypeError("Clients of Supabase publish in channels that they have joined: subscribe to the topic first.");
		return [{ topic, event: "broadcast", payload: { type: "broadcast", event, payload }, ref, join_ref: this.#channels.get(topic) }];
	}

	/** The meaning of a frame. */
	read({ topic, event, payload, ref }) {
		const id = this.#channels.get(topic);
		if (id === undefined) return [];
		switch (event) {
			case "phx_reply":
				return [answered(ref, id, payload)];
			case "system":
				return payload.status === "error" ? [{ refused: id, error: { code: payload.extension ?? "system", message: payload.message } }] : [];
			case "phx_error":
			case "phx_close":
				return [{ refused: id, error: { code: event, message: "The server has closed the channel." } }];
			case "broadcast":
				return [{ ids: [id], event: { type: "broadcast", event: payload.event, topic: topic.slice(PREFIX.length), payload: payload.payload } }];
			case "postgres_changes":
				return [{ ids: [id], event: changeOf(payload.data) }];
			default:
				return [];
		}
	}

	#topicOf(id) {
		return [...this.#channels].find(([, known]) => known === id)?.[0];
	}
}

/** An answer belongs to the join, whose reference is the subscription's, or to a message. */
function answered(ref, id, { status, response }) {
	const isJoin = ref === id;
	if (status === "ok") return isJoin ? { standing: id } : { sent: ref };
	const reason = response?.reason;
	const error = { code: status, message: typeof reason === "string" ? reason : JSON.stringify(response ?? {}) };
	return isJoin ? { refused: id, error } : { unsent: ref, error };
}

function changeOf({ schema, table, type, record, old_record: old }) {
	return { type: "postgres_changes", schema, table, eventType: type, new: type === "DELETE" ? null : record, old: old ?? null };
}
