/**
 * The client: one socket, all handlers that use it, and its position in the stream.
 */
import { Connection, type Owner, type Socket, type Status } from "./connection.ts";
import type { Broadcast, ChangeType, Definitions, PresenceOf, TopicEvents, TopicName } from "./definitions.ts";
import { RealtimeError } from "./error.ts";
import type { AuthSuccess, Identity, Position, ServerFrame } from "./frame.ts";
import { type Handler, Listeners } from "./listeners.ts";
import type { On } from "./on.ts";
import type { ClientOptions, TableOptions } from "./options.ts";
import { describe, Outage } from "./outage.ts";
import { Pace } from "./pace.ts";
import { Presence } from "./presence.ts";
import { type Gap, Stream } from "./stream.ts";
import { NO_TABLE, Subscriptions } from "./subscriptions.ts";
import { browser } from "./surroundings.ts";
import { Tokens } from "./token.ts";
import { Topic, type TopicOptions } from "./topic.ts";
import type { Wiring } from "./wiring.ts";

/**
 * Creates a client. It connects when the first handler is added, together with all handlers added in the same turn, and
 * stays connected until `close()`. The URL is the Worker's, including any path that a proxy adds before its routes; one
 * that ends in `/realtime/v1/websocket` is accepted too.
 *
 * @example
 * ```ts
 * const client = createClient<App>("https://realtime.example.com", {
 *   organizationId: "org_1",
 *   getToken: () => fetch("/api/token").then((response) => response.text()),
 * });
 * client.on("claims", "*", (change) => console.log(change.eventType, change.new));
 * ```
 */
export function createClient<D extends Definitions = Definitions>(url: string | URL, options: ClientOptions): Client<D> {
	return new Client(url, options);
}

/** A client of one organization, for one user. {@link createClient} creates it. */
export class Client<D extends Definitions = Definitions> {
	/** Adds handlers. */
	readonly on: On<D>;
	/** Presence in the organization's lobby. */
	readonly presence: Presence<PresenceOf<D>>;
	/** The identity that the server has verified with the last token; `undefined` before the first connection. */
	identity: Identity | undefined;
	#organizationId: string;
	#autoConnect: boolean;
	#stream: Stream;
	#subscriptions: Subscriptions;
	#connection: Connection;
	#topics = new Map<string, Topic>();
	#wiring: Wiring;
	#pace: Pace;
	#presences = new Map<string | undefined, Pick<Presence, "disconnected" | "flush" | "receive" | "refused" | "renew">>();
	#requests = new Map<string, { resolve: () => void; reject: (error: RealtimeError) => void }>();
	#lastRequest = 0;
	#isFlushing = false;
	#outage = new Outage();
	#errors = new Listeners<RealtimeError>((error) => console.error(error));
	#report = (error: unknown) => this.#tellError(error);
	#gaps = new Listeners<Gap>(this.#report);
	#statuses = new Listeners<Status>(this.#report);
	#broadcasts = new Listeners<Broadcast>(this.#report);

	/** @internal */
	constructor(url: string | URL, options: ClientOptions) {
		const { organizationId, autoConnect = true, backoff = {}, heartbeat = {}, connectTimeout = 15_000 } = options;
		const { WebSocket = globalThis.WebSocket, surroundings = browser() } = options;
		const check = () => {
			const message = "This runtime has no WebSocket.";
			if (!WebSocket) throw new RealtimeError("no_websocket", message);
			return socketAddress(url, organizationId);
		};
		const openSocket = () => new WebSocket(check()) as Socket;
		this.#organizationId = organizationId;
		this.#autoConnect = autoConnect;
		this.#stream = new Stream(this.#checked(options.position));
		this.#wiring = {
			send: (frame) => this.#connection.send(frame),
			pace: (act) => this.#pace.run(act),
			request: (frame) => this.#request(frame),
			subscribe: (target, handler) => this.#subscriptions.add(target, handler),
			changed: () => this.#changed(),
			report: this.#report,
		};
		this.#pace = new Pace(surroundings);
		this.#subscriptions = new Subscriptions(this.#wiring);
		const tokens = new Tokens(options, surroundings);
		const connection = { backoff, heartbeat, connectTimeout, check, openSocket };
		this.#connection = new Connection(connection, tokens, surroundings, this.#owner());
		this.presence = new Presence({}, this.#wiring);
		this.#presences.set(undefined, this.presence);
		this.on = this.#handlers();
	}

	/** The state of the connection. */
	get status(): Status {
		return this.#connection.status;
	}

	/**
	 * The position after the last handled event; `undefined` before the first connection. The option `position` accepts
	 * it.
	 */
	get position(): Position | undefined {
		return this.#stream.position;
	}

	/**
	 * Connects if no handler has done so, or after `close()`.
	 *
	 * @example
	 * ```ts
	 * client.connect();
	 * ```
	 */
	connect(): void {
		this.#connection.connect();
	}

	/**
	 * Disconnects until `connect()`, which resumes from the current position. Handlers remain.
	 *
	 * @example
	 * ```ts
	 * window.addEventListener("logout", () => client.close());
	 * ```
	 */
	close(): void {
		this.#connection.close();
	}

	/**
	 * Resolves once the handlers have received everything that was accepted before `receipt`, the server's answer to a
	 * publication. An optimistic update can then be removed without a flicker. It keeps waiting across reconnects, and
	 * rejects when the client is closed.
	 *
	 * @example
	 * ```ts
	 * client.on.broadcast("extraction:started", async ({ offset }) => {
	 *   await client.caughtUp({ epoch: client.position!.epoch, offset });
	 *   console.log("everything up to here was handled");
	 * });
	 * ```
	 */
	async caughtUp({ epoch, offset }: Position): Promise<void> {
		while (this.position?.epoch !== epoch || this.position.offset < offset) {
			await this.#connected();
			try {
				// Answers keep the order of events: everything accepted earlier, and visible to this user, has arrived by
				// then.
				return await this.#request({ type: "subscribe", ...NO_TABLE });
			} catch (error) {
				if ((error as RealtimeError).code !== "disconnected") throw error;
			}
		}
	}

	#connected(): Promise<void> {
		return new Promise((resolve, reject) => {
			const look = ({ state, error }: Status) => {
				if (state === "connected") resolve();
				else if (state === "closed") reject(error ?? CLOSED);
				else return;
				off();
			};
			const off = this.#statuses.add(look);
			look(this.status);
		});
	}

	/**
	 * A topic; always the same object for the same name.
	 *
	 * @example
	 * ```ts
	 * client.topic("room:1").on("cursor", ({ payload }) => move(payload));
	 * ```
	 * @throws {TypeError} when the name is in use in the other of the two spaces: events do not tell the space
	 */
	topic<N extends TopicName<D>>(name: N, options: TopicOptions = {}): Topic<TopicEvents<D, N>, PresenceOf<D>> {
		const target = { topic: name, private: options.private ?? true };
		let topic = this.#topics.get(name);
		if (!topic) {
			topic = new Topic(target, this.#wiring);
			this.#topics.set(name, topic);
			this.#presences.set(name, topic.presence);
		}
		if (topic.private !== target.private) throw new TypeError(`${name} is in the other space.`);
		return topic as unknown as Topic<TopicEvents<D, N>, PresenceOf<D>>;
	}

	#handlers(): On<D> {
		const on = (table: string, event: ChangeType | "*", handler: Handler<never>, options: TableOptions = {}) => {
			const dot = table.indexOf(".");
			// Qualified names as in the server helper; if a schema is given, the dot belongs to the table's name.
			const isQualified = dot > 0 && options.schema === undefined;
			const [given, name] = isQualified ? [table.slice(0, dot), table.slice(dot + 1)] : [options.schema, table];
			const { filter = "" } = options;
			const schema = given ?? (table === "*" ? "*" : "public");
			return this.#subscriptions.add({ table: name, schema, event, ...(filter.trim() && { filter }) }, handler);
		};
		const broadcast = (event: string, handler: Handler<never>) => {
			this.#changed();
			return this.#broadcasts.add((one) => (event === "*" || event === one.event ? handler(one as never) : undefined));
		};
		return Object.assign(on, {
			broadcast,
			gap: (handler: Handler<Gap>) => this.#gaps.add(handler),
			status: (handler: Handler<Status>) => this.#statuses.add(handler),
			error: (handler: Handler<RealtimeError>) => this.#errors.add(handler),
		}) as unknown as On<D>;
	}

	#owner(): Owner {
		return {
			introduce: (careful) => ({
				organizationId: this.#organizationId,
				recover: this.#stream.position ?? true,
				// An older Worker does not support batches, and refuses the frame because of them.
				batch: careful ? undefined : true,
				subscriptions: this.#subscriptions.initial(!this.identity, careful),
			}),
			authenticated: (frame, isRefresh) => this.#authenticated(frame, isRefresh),
			frame: (frame) => this.#receive(frame),
			disconnected: () => this.#disconnected(),
			status: (status) => this.#follow(status),
			report: this.#report,
		};
	}

	#authenticated(frame: AuthSuccess, isRefresh: boolean): void {
		const { type, epoch, offset, recovered, ...identity } = frame;
		const before = this.identity;
		if (before && before.userId !== identity.userId) {
			return this.#connection.close(new RealtimeError("wrong_user", "A client is one user's."));
		}
		this.identity = identity;
		const gap = this.#stream.begin(frame);
		const { status } = this;
		if (!isRefresh) this.#follow(status);
		// A status handler may have closed the client.
		if (status !== this.status) return;
		if (gap) this.#gaps.emit(gap);
		if (!isRefresh) this.#subscriptions.authenticated();
		else if (`${before?.roles}` !== `${identity.roles}`) {
			this.#subscriptions.retry();
			for (const presence of this.#presences.values()) presence.renew();
		}
		this.#flushPresences();
	}

	/** The connection's state has changed. Each failure is reported once, and pending promises are settled. */
	#follow(status: Status): void {
		const { state, error } = status;
		const isFailure = this.#outage.isFailure(status);
		const news = this.#outage.hear(status);
		this.#statuses.emit(status);
		if (news) this.#report(news);
		if (state === "closed" || isFailure) this.#subscriptions.failed(error ?? CLOSED);
	}

	/** An invalid position counts as none: everything is read anew. */
	#checked(position: Position | undefined): Position | undefined {
		const { epoch, offset } = position ?? {};
		if (typeof epoch === "string" && Number.isSafeInteger(offset) && offset! >= 0) return position;
		const error = new RealtimeError("invalid_position", "The option position is not a position.");
		// Deferred, so that a handler can be added first.
		if (position) queueMicrotask(() => this.#report(error));
		return undefined;
	}

	#disconnected(): void {
		this.#subscriptions.disconnected();
		this.#pace.clear();
		for (const presence of this.#presences.values()) presence.disconnected();
		const error = new RealtimeError("disconnected", "The connection ended.");
		for (const { reject } of this.#requests.values()) reject(error);
		this.#requests.clear();
	}

	#receive(frame: ServerFrame): void {
		switch (frame.type) {
			case "postgres_changes":
			case "broadcast":
				if (this.#stream.isPast(frame.offset)) return;
				if (frame.type === "postgres_changes") this.#subscriptions.change(frame);
				else if (frame.topic !== undefined) this.#subscriptions.topic(frame);
				else this.#broadcasts.emit(frame);
				return this.#stream.handled(frame.offset);
			case "subscribed":
				if (this.#answered(frame.id)) return void this.#connection.send({ type: "unsubscribe", id: frame.id });
				return this.#subscriptions.subscribed(frame.id);
			case "unsubscribed":
				return this.#subscriptions.unsubscribed(frame.id);
			case "ack":
				return void this.#answered(frame.id);
			case "error": {
				const { code, message, id = "" } = frame;
				if (code === "rate_limited") this.#pace.slow();
				if (this.#answered(id, new RealtimeError(code, message))) return;
				// Refusals of presence have no id.
				if (!id) for (const presence of this.#presences.values()) presence.refused(code);
				if (!id && code === "not_tracked") return;
				return this.#report(this.#subscriptions.refused(id, frame) ?? new RealtimeError(code, message));
			}
			case "presence_state":
			case "presence_join":
			case "presence_update":
			case "presence_leave":
				return this.#presences.get(frame.topic)?.receive(frame);
		}
	}

	#request(frame: object): Promise<void> {
		const id = `m${(this.#lastRequest += 1)}`;
		return new Promise<void>((resolve, reject) => {
			const refuse = (code: string, message: string) => reject(new RealtimeError(code, message));
			if (this.status.state !== "connected") return refuse("disconnected", "There is no connection.");
			if (this.#pace.isFull) return refuse("rate_limited", "Too many messages wait to be sent.");
			this.#requests.set(id, { resolve, reject });
			this.#pace.run(() => this.#connection.send({ ...frame, id }));
		});
	}

	#answered(id: string, error?: RealtimeError): boolean {
		const request = this.#requests.get(id);
		this.#requests.delete(id);
		if (error) request?.reject(error);
		else request?.resolve();
		return request !== undefined;
	}

	/** Sends changes to the server at the end of this turn; changes that are undone until then are never sent. */
	#changed(): void {
		if (this.#isFlushing) return;
		this.#isFlushing = true;
		queueMicrotask(() => {
			this.#isFlushing = false;
			if (this.#autoConnect && this.status.state === "idle") this.connect();
			const { state, error } = this.status;
			if (state === "closed") this.#subscriptions.failed(error ?? CLOSED);
			if (state !== "connected") return;
			this.#subscriptions.flush();
			this.#flushPresences();
		});
	}

	#flushPresences(): void {
		for (const presence of this.#presences.values()) presence.flush();
	}

	#tellError(error: unknown): void {
		const message = "A handler failed.";
		const known = error instanceof RealtimeError ? error : new RealtimeError("handler_failed", message, { cause: error });
		if (this.#errors.size > 0) this.#errors.emit(known);
		else if (known === error) console.error(describe(known));
		// The stack trace shows where it was thrown.
		else console.error(describe(known), error);
	}
}

const CLOSED = new RealtimeError("closed", "The client is closed.");

function socketAddress(url: string | URL, organizationId: string): string {
	if (!organizationId || typeof organizationId !== "string") {
		throw new RealtimeError("invalid_organization", "The option organizationId is missing.");
	}
	if (!/^(http|ws)s?:\/\/[^/]/i.test(`${url}`)) throw new RealtimeError("invalid_url", `${url} is not an address of http or https.`);
	const address = new URL(url);
	address.protocol = address.protocol.replace("http", "ws");
	address.pathname = address.pathname.replace(/(\/realtime\/v1\/websocket)?\/*$/, "/realtime/v1/websocket");
	address.searchParams.set("organizationId", organizationId);
	return address.href;
}
