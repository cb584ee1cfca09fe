/**
 * The client: one socket, everything that listens to it, and where it stands in the stream.
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
 * Makes a client. It connects when the first handler is added, with every handler of the same turn, and from then on
 * keeps connected until `close()`. The URL is the Worker's, with the path that stands before its routes where there is
 * one; one that ends in `/realtime/v1/websocket` is good too.
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

/** A client of one organization, for one user. {@link createClient} makes them. */
export class Client<D extends Definitions = Definitions> {
	/** Adds handlers. */
	readonly on: On<D>;
	/** Who is in the organization's lobby. */
	readonly presence: Presence<PresenceOf<D>>;
	/** Who this client is to the server, by its last token; `undefined` before the first connection. */
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

	/** How things stand. */
	get status(): Status {
		return this.#connection.status;
	}

	/** The last event that was handled; `undefined` before the first connection. The option `position` takes it. */
	get position(): Position | undefined {
		return this.#stream.position;
	}

	/**
	 * Connects, where no handler has done so, or after `close()`.
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
	 * Disconnects until `connect()`, which resumes where this has left off. Handlers stay.
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
	 * Settles when the handlers have had all that was accepted before `receipt`, which is the server's answer to a
	 * publication; so what was shown in advance can be taken back without a flicker. After a reconnect it goes on
	 * waiting. It rejects when the client is closed.
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
				// Answered in the order of the events: what was accepted before has come by then, where it is for this user.
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
	 * A topic; the same one for the same name.
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
			// As the server helper names tables; a schema of its own says that the dot is the table's.
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
				// A Worker of before knows no batches, and refuses the frame for it.
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
		// Whoever was told may have closed it.
		if (status !== this.status) return;
		if (gap) this.#gaps.emit(gap);
		if (!isRefresh) this.#subscriptions.authenticated();
		else if (`${before?.roles}` !== `${identity.roles}`) {
			this.#subscriptions.retry();
			for (const presence of this.#presences.values()) presence.renew();
		}
		this.#flushPresences();
	}

	/** The connection's state has changed. What fails is told once, and nobody waits for what does not come. */
	#follow(status: Status): void {
		const { state, error } = status;
		const isFailure = this.#outage.isFailure(status);
		const news = this.#outage.hear(status);
		this.#statuses.emit(status);
		if (news) this.#report(news);
		if (state === "closed" || isFailure) this.#subscriptions.failed(error ?? CLOSED);
	}

	/** A position that is none is as good as nothing: everything is read anew. */
	#checked(position: Position | undefined): Position | undefined {
		const { epoch, offset } = position ?? {};
		if (typeof epoch === "string" && Number.isSafeInteger(offset) && offset! >= 0) return position;
		const error = new RealtimeError("invalid_position", "The option position is not a position.");
		// Not before there can be a handler.
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

	/** Tells the server what has changed once this turn is over: what is taken back until then was never said. */
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
		// Where it was thrown is what tells.
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
