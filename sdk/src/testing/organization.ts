/**
 * One organization of the test server: its stream, its connections and its presence.
 */
import { type Channel, holds, isAllowed, policyOf } from "../view/channels.ts";
import type { Json, JsonRow } from "../view/masking.ts";
import type { Viewer } from "../view/viewer.ts";
import type { Tables } from "../server/table.ts";
import type { Connection } from "./connection.ts";
import { frameFor, isDecidable, isFor, type Publication, tableOf } from "./rules.ts";

/** The options of the deployment. */
export interface Rules {
	readonly tables: Tables;
	readonly channels: readonly Channel[];
}

/** An organization. */
export class Organization {
	readonly id: string;
	readonly connections = new Set<Connection>();
	#rules: Rules;
	#epoch = crypto.randomUUID();
	#history: { readonly offset: number; readonly publication: Publication }[] = [];
	/** The idempotency keys of clients, as JSON. */
	#keys = new Set<string>();
	/** By topic, then by connection. */
	#present = new Map<string | undefined, Map<Connection, JsonRow>>();

	constructor(id: string, rules: Rules) {
		this.id = id;
		this.#rules = rules;
	}

	/** The position of the stream. */
	get position(): { readonly epoch: string; readonly offset: number } {
		return { epoch: this.#epoch, offset: this.#history.length };
	}

	/** A connection is authenticated; it receives what was published after `offset`. */
	enter(connection: Connection, offset: number | undefined): void {
		this.connections.add(connection);
		for (const event of this.#history.slice(offset ?? this.#history.length)) this.#deliver(connection, event.publication, event.offset);
	}

	/** A connection has ended. */
	leave(connection: Connection): void {
		this.connections.delete(connection);
		for (const topic of this.#present.keys()) this.untrack(connection, topic);
	}

	/** Publishes; returns how many connections received it. */
	publish(publication: Publication, isKept = publication.history !== false, but?: Connection): number {
		if (isKept) this.#history.push({ offset: this.#history.length + 1, publication });
		const { offset } = this.position;
		return [...this.connections].filter((one) => one !== but && this.#deliver(one, publication, offset)).length;
	}

	/** Whether nothing has been published under this key yet. */
	isNews(key: readonly unknown[]): boolean {
		const before = this.#keys.size;
		return this.#keys.add(JSON.stringify(key)).size > before;
	}

	/** Publishes a client's message. */
	say(publication: Publication, sender: Connection, isSilent: boolean): void {
		const channel = publication.private === false ? undefined : policyOf(this.#rules.channels, publication.topic!, sender.viewer!);
		this.publish(publication, channel?.history === true, isSilent ? sender : undefined);
	}

	/** Whether a viewer may do something in a topic. */
	allows(action: "read" | "write" | "presence", topic: string, isPrivate: boolean, viewer: Viewer): boolean {
		return !isPrivate || isAllowed(this.#rules.channels, action, topic, viewer);
	}

	/** Whether a viewer has one of a table's required roles. */
	admits(viewer: Viewer, table: string, schema = "public"): boolean {
		const { requiredRoles } = tableOf(this.#rules.tables, schema, table);
		return !requiredRoles || holds(viewer, requiredRoles);
	}

	/** Whether a filter can be evaluated here. */
	canJudge(filter: string): boolean {
		return isDecidable(filter);
	}

	/** The members of a topic, or of the lobby. */
	members(topic: string | undefined): JsonRow[] {
		return [...(this.#present.get(topic) ?? [])].map(([connection, metadata]) => memberOf(connection, metadata));
	}

	/** A connection becomes present, or changes its metadata. */
	track(connection: Connection, topic: string | undefined, metadata: JsonRow): void {
		const present = this.#present.get(topic) ?? new Map<Connection, JsonRow>();
		this.#present.set(topic, present);
		const isUpdate = present.has(connection);
		if (!isUpdate) connection.send({ type: "presence_state", ...placed(topic), clients: this.members(topic) });
		present.set(connection, metadata);
		const member = memberOf(connection, metadata);
		if (isUpdate) this.#tell(topic, { type: "presence_update", client_id: member["client_id"]!, metadata });
		else this.#tell(topic, { type: "presence_join", ...member });
	}

	/** A connection's presence ends. */
	untrack(connection: Connection, topic: string | undefined): void {
		const present = this.#present.get(topic);
		if (!present?.has(connection)) return;
		const { client_id, user_id } = memberOf(connection, {});
		present.delete(connection);
		this.#tell(topic, { type: "presence_leave", client_id: client_id!, user_id: user_id! });
	}

	#tell(topic: string | undefined, frame: JsonRow): void {
		const isPresent = (one: Connection) => this.#present.get(topic)?.has(one);
		for (const one of this.connections) {
			const isThere = topic !== undefined && (one.isIn(topic, true) || one.isIn(topic, false));
			if (isPresent(one) || isThere) one.send({ ...frame, ...placed(topic) });
		}
	}

	#deliver(connection: Connection, publication: Publication, offset: number): boolean {
		const { topic, private: isPrivate = true } = publication;
		if (topic !== undefined && !connection.isIn(topic, isPrivate)) return false;
		const frame = frameFor(publication, this.#rules.tables, connection.viewer!);
		if (!frame || (topic === undefined && frame["type"] === "postgres_changes" && !wants(connection, frame))) return false;
		connection.send({ ...frame, offset });
		return true;
	}
}

/** Whether a connection has subscribed to such a change. Without any subscription it receives all. */
function wants({ subscriptions, isExplicit }: Connection, change: JsonRow): boolean {
	const targets = [...subscriptions.values()].filter((target) => "table" in target);
	if (!isExplicit && targets.length === 0) return true;
	return targets.some((target) => "table" in target && isFor(target, change));
}

const placed = (topic: string | undefined): { topic?: Json & string } => (topic === undefined ? {} : { topic });

function memberOf({ id, viewer }: Connection, metadata: JsonRow): JsonRow {
	return { client_id: id, user_id: viewer?.userId ?? null, metadata };
}
