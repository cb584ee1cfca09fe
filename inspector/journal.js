/**
 * The frames of this tab's connections, up to a memory limit.
 */

/** How many frames, and how many of their characters, are kept. */
const MAX_FRAMES = 50_000;
const MAX_CHARACTERS = 50_000_000;
/** How much of a foreign frame its line shows. */
const MAX_SUMMARY = 300;
/** The oldest are removed in portions rather than one at a time. */
const PORTION = 0.1;

/** The subject of a frame, by its type. */
const KINDS = {
	postgres_changes: "event",
	broadcast: "event",
	ack: "event",
	subscribe: "subscription",
	subscribed: "subscription",
	unsubscribe: "subscription",
	unsubscribed: "subscription",
	auth: "identity",
	auth_success: "identity",
	auth_expired: "identity",
	auth_error: "error",
	error: "error",
	phx_join: "subscription",
	phx_leave: "subscription",
	phx_reply: "subscription",
	phx_close: "subscription",
	phx_error: "error",
	system: "subscription",
	change: "event",
	connected: "identity",
	warning: "error",
	heartbeat: "heartbeat",
	ping: "heartbeat",
	pong: "heartbeat",
	opening: "socket",
	closed: "socket",
};

/**
 * One line of the journal.
 *
 * @typedef {{sequence: number, time: number, side: string, direction: "in" | "out" | "none", type: string, kind: string,
 *   summary: string, offset: number | undefined, text: string}} Entry
 */

/** The frames, oldest first. Emits `added` (with the entry) and `trimmed`. */
export class Journal extends EventTarget {
	/** @type {Entry[]} */
	entries = [];
	#characters = 0;
	#last = 0;

	/** Records a frame, and returns it parsed. Only native frames have a summary. */
	add(side, direction, text, { isForeign = false } = {}) {
		const frame = parsed(text);
		const type = [frame?.type, frame?.event].find((name) => typeof name === "string") ?? "?";
		const kind = kindOf(type, frame);
		const offset = typeof frame?.offset === "number" ? frame.offset : undefined;
		const summary = isForeign && direction !== "none" ? text.slice(0, MAX_SUMMARY) : summaryOf(frame);
		const entry = { sequence: (this.#last += 1), time: Date.now(), side, direction, type, kind, summary, offset, text };
		this.entries.push(entry);
		this.#characters += text.length;
		if (this.entries.length > MAX_FRAMES || this.#characters > MAX_CHARACTERS) this.#trim();
		this.dispatchEvent(new CustomEvent("added", { detail: { entry, frame } }));
		return frame;
	}

	/** Removes everything. */
	clear() {
		this.entries = [];
		this.#characters = 0;
		this.dispatchEvent(new Event("trimmed"));
	}

	#trim() {
		const gone = this.entries.splice(0, Math.ceil(this.entries.length * PORTION));
		for (const { text } of gone) this.#characters -= text.length;
		this.dispatchEvent(new Event("trimmed"));
	}
}

/** Supabase's heartbeats and their answers are recognized by their topic only. */
function kindOf(type, frame) {
	if (frame?.topic === "phoenix") return "heartbeat";
	return KINDS[type] ?? (type.startsWith("presence") ? "presence" : "other");
}

function parsed(text) {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

/** A short summary of a frame. */
function summaryOf(frame) {
	const { topic, user_id: user } = frame ?? {};
	const place = topic === undefined ? "" : ` in ${topic}`;
	switch (frame?.type) {
		case "postgres_changes":
			return `${frame.eventType} ${frame.schema}.${frame.table}${place}`;
		case "broadcast":
			return `${frame.event}${place}`;
		case "subscribe":
			return `${frame.id}: ${topic ?? `${frame.schema}.${frame.table} ${frame.event} ${frame.filter ?? ""}`}`;
		case "auth":
			return `${frame.subscriptions?.length ?? 0} subscriptions${frame.recover?.offset === undefined ? "" : `, recover after ${frame.recover.offset}`}`;
		case "auth_success":
			return `${frame.userId ?? "no user"} (${frame.roles?.join(", ")})${frame.recovered === undefined ? "" : `, recovered: ${frame.recovered}`}`;
		case "presence_state":
			return `${frame.clients?.length} present${place || " in the lobby"}`;
		case "error":
		case "auth_error":
		case "closed":
			return [frame.code, frame.message ?? frame.reason, frame.id].filter(Boolean).join(" · ");
		default:
			return frame?.type?.startsWith("presence_") ? `${user ?? ""}${place || " in the lobby"}` : String(frame?.id ?? "");
	}
}
