/**
 * One connection of the test server: a WebSocket whose other end is in the same program.
 */
import type { JsonRow } from "../view/masking.ts";
import type { Viewer } from "../view/viewer.ts";
import type { TableTarget } from "./rules.ts";
import type { Organization } from "./organization.ts";

/** A subscription of a connection. */
export type Target = TableTarget | { readonly topic: string; readonly private: boolean; readonly presence?: boolean };

/** The client's WebSocket. */
export class TestSocket {
	onopen: ((event: never) => void) | null = null;
	onmessage: ((event: never) => void) | null = null;
	onclose: ((event: never) => void) | null = null;
	onerror: ((event: never) => void) | null = null;
	#connection: Connection;
	#isOpen = true;
	#act: (what: () => unknown) => void;

	/** @param act notes that something happens, and lets it happen */
	constructor(organization: Organization, act: (what: () => unknown) => void) {
		this.#connection = new Connection(organization, this);
		this.#act = act;
		act(() => this.#isOpen && this.onopen?.({} as never));
	}

	/** Sends to the server. */
	send(text: string): void {
		if (this.#isOpen) this.#act(() => this.#connection.receive(JSON.parse(text)));
	}

	/** Ends the connection. */
	close(code = 1000, reason = ""): void {
		if (!this.#isOpen) return;
		this.#isOpen = false;
		this.#connection.leave();
		this.#act(() => this.onclose?.({ code, reason } as never));
	}

	/** @internal Hands a frame to the client. */
	hand(frame: object): void {
		const data = JSON.stringify(frame);
		this.#act(() => this.#isOpen && this.onmessage?.({ data } as never));
	}
}

interface Frame extends Record<string, any> {
	readonly type: string;
	readonly id?: string;
}

/** The server's end. */
export class Connection {
	readonly socket: TestSocket;
	/** Its public id in presence. */
	readonly id = crypto.randomUUID();
	/** The viewer, once authenticated. */
	viewer: Viewer | undefined;
	/** Its subscriptions, by id. */
	readonly subscriptions = new Map<string, Target>();
	/** Whether it receives only what it has subscribed to. */
	isExplicit = false;
	#organization: Organization;

	constructor(organization: Organization, socket: TestSocket) {
		this.#organization = organization;
		this.socket = socket;
	}

	/** Handles a frame of the client. */
	receive(frame: Frame): void {
		if (frame.type === "ping") return this.send({ type: "pong" });
		if (frame.type === "auth") return this.#authenticate(frame);
		if (!this.viewer) return this.#reject("auth_required");
		switch (frame.type) {
			case "subscribe":
				return this.#subscribe(frame);
			case "unsubscribe":
				this.subscriptions.delete(frame.id!);
				return this.send({ type: "unsubscribed", id: frame.id });
			case "broadcast":
				return this.#broadcast(frame);
			case "presence_track":
			case "presence_update":
			case "presence_untrack":
				return this.#presence(frame);
			default:
				return this.refuse("unknown_type", frame.id);
		}
	}

	/** Sends a frame. */
	send(frame: object): void {
		this.socket.hand(frame);
	}

	/** Refuses a request of the client. */
	refuse(code: string, id?: string): void {
		this.send({ type: "error", code, message: `The test server says ${code}.`, ...(id !== undefined && { id }) });
	}

	/** The connection has ended. */
	leave(): void {
		this.#organization.leave(this);
	}

	/** Whether it is subscribed to a topic. */
	isIn(topic: string, isPrivate: boolean): boolean {
		return [...this.subscriptions.values()].some((target) => "topic" in target && target.topic === topic && target.private === isPrivate);
	}

	#authenticate({ token, subscriptions, recover }: Frame): void {
		const viewer = parseViewer(token);
		if (!viewer) return this.#reject("invalid_token");
		if (viewer.organizationId !== this.#organization.id) return this.#reject("wrong_organization");
		const isFirst = this.viewer === undefined;
		this.viewer = viewer;
		const { position } = this.#organization;
		const recovered = typeof recover === "object" ? { recovered: recover.epoch === position.epoch } : {};
		const identity = { organizationId: viewer.organizationId, userId: viewer.userId ?? null, role: viewer.roles[0] ?? null, roles: viewer.roles };
		this.send({ type: "auth_success", ...identity, authMethod: "session", ...(isFirst && recover && { ...position, ...recovered }) });
		if (!isFirst) return;
		this.isExplicit = subscriptions !== undefined;
		for (const target of subscriptions ?? []) this.#subscribe(target);
		this.#organization.enter(this, "recovered" in recovered && recovered.recovered ? recover.offset : undefined);
	}

	#reject(code: string): void {
		this.send({ type: "auth_error", code, message: `The test server says ${code}.` });
		queueMicrotask(() => this.socket.close(1008, code));
	}

	#subscribe({ id = "", topic, private: isPrivate = true, presence, table, schema, event, filter }: Record<string, any>): void {
		if (this.subscriptions.has(id)) return this.refuse("subscription_exists", id);
		if (topic !== undefined && !this.#organization.allows("read", topic, isPrivate, this.viewer!)) return this.refuse("forbidden", id);
		if (table !== undefined && !this.#organization.admits(this.viewer!, table, schema)) return this.refuse("forbidden", id);
		if (filter !== undefined && !this.#organization.canJudge(filter)) return this.refuse("invalid_filter", id);
		this.subscriptions.set(id, topic === undefined ? { table, schema, event, filter } : { topic, private: isPrivate, presence });
		this.send({ type: "subscribed", id });
		if (presence) this.send({ type: "presence_state", topic, clients: this.#organization.members(topic) });
	}

	#broadcast({ id, topic, private: isPrivate = true, event, payload, echo, key }: Frame): void {
		if (!this.#organization.allows("write", topic, isPrivate, this.viewer!)) return this.refuse("forbidden", id);
		const isNews = key === undefined || this.#organization.isNews([this.viewer!.userId, topic, isPrivate, key]);
		if (isNews) this.#organization.say({ type: "broadcast", topic, private: isPrivate, event, payload: payload ?? null }, this, echo === false);
		if (id !== undefined) this.send({ type: "ack", id });
	}

	#presence({ type, topic, private: isPrivate = true, metadata }: Frame): void {
		if (topic !== undefined && !this.#organization.allows("presence", topic, isPrivate, this.viewer!)) return this.refuse("forbidden");
		if (type === "presence_untrack") this.#organization.untrack(this, topic);
		else this.#organization.track(this, topic, metadata as JsonRow);
	}
}

/** The viewer of a token of the test server. */
function parseViewer(token: string): Viewer | undefined {
	try {
		const viewer = JSON.parse(token) as Viewer;
		return Array.isArray(viewer.roles) ? viewer : undefined;
	} catch {
		return undefined;
	}
}
