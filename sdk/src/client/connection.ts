/**
 * One connection after another: opening, authenticating, detecting the end, reconnecting.
 *
 * ```text
 * idle ──connect──▶ connecting ──auth_success──▶ connected
 *                    ▲   │ ▲                        │
 *             (wait) │   ▼ └──────── waiting ◀──────┘ ended, worth another attempt
 *                    └ waiting          │
 *                                       ▼
 *               closed ◀── close(), or not worth another attempt
 * ```
 */
import { Backoff, type BackoffOptions } from "./backoff.ts";
import { RealtimeError, retryOf } from "./error.ts";
import type { AuthSuccess, Batch, ErrorFrame, ServerFrame } from "./frame.ts";
import { Heartbeat, type HeartbeatOptions } from "./heartbeat.ts";
import type { Surroundings } from "./surroundings.ts";
import { type Tokens } from "./token.ts";

/**
 * The state of the connection. Each change creates a new object, so comparing identities is enough.
 *
 * @example
 * ```ts
 * client.on.status(({ state, error }) => {
 *   banner.hidden = state === "connected";
 *   if (state === "closed" && error) signIn();
 * });
 * ```
 */
export interface Status {
	/**
	 * `idle`: not asked to connect yet. `connecting`: in progress. `connected`: authenticated, and the replay follows.
	 * `waiting`: for the next attempt. `closed`: by `close()`, or for a reason that another attempt would not change.
	 */
	readonly state: "idle" | "connecting" | "connected" | "waiting" | "closed";
	/** Attempts since the last good connection. */
	readonly attempt: number;
	/** When the next attempt is due (Unix milliseconds), while `waiting`. */
	readonly retryAt?: number;
	/** Why the last connection or attempt ended, unless `close()` ended it. */
	readonly error?: RealtimeError;
}

/** The part of the standard WebSocket that the client uses. */
export interface Socket {
	onopen: ((event: never) => void) | null;
	onmessage: ((event: never) => void) | null;
	onclose: ((event: never) => void) | null;
	onerror: ((event: never) => void) | null;
	send(text: string): void;
	close(code?: number, reason?: string): void;
}

/** The options of a connection. */
export interface ConnectionOptions {
	backoff: BackoffOptions;
	heartbeat: HeartbeatOptions;
	/** How long an attempt may take, from asking for a token to being authenticated, in milliseconds. */
	connectTimeout: number;
	/** Throws the error that prevents any socket from being opened. */
	check: () => void;
	openSocket: () => Socket;
}

/** The receiver of a connection's events. */
export interface Owner {
	/** The contents of the auth frame besides the token. `careful` after a complete frame was refused. */
	introduce(careful: boolean): object;
	/** The server has verified the identity: first when the connection is established, then with every later token. */
	authenticated(frame: AuthSuccess, isRefresh: boolean): void;
	/** Any other frame, while authenticated. */
	frame(frame: ServerFrame): void;
	disconnected(): void;
	status(status: Status): void;
	report(error: RealtimeError): void;
}

/** How many rejected tokens in a row show that fetching another one is useless. */
const MAX_REJECTIONS = 3;
/** The close code for leaving a connection on purpose; nothing is reported. */
const ON_PURPOSE = 1000;

/** The connection of a client. */
export class Connection {
	status: Status = { state: "idle", attempt: 0 };
	#options: ConnectionOptions;
	#tokens: Tokens;
	#surroundings: Surroundings;
	#owner: Owner;
	#backoff: Backoff;
	#refreshBackoff: Backoff;
	#heartbeat: Heartbeat;
	#socket: Socket | undefined;
	/** Counts attempts, so that what an earlier attempt still awaits is not mistaken for this one's. */
	#life = 0;
	#careful = false;
	#rejections = 0;
	/**
	 * The error for which the server refused the connection. The server closes it afterwards, and this is the better
	 * reason.
	 */
	#failure: RealtimeError | undefined;
	#cancel: () => void = () => {};
	#cancelRefresh: () => void = () => {};
	#unwatch: (() => void) | undefined;

	constructor(options: ConnectionOptions, tokens: Tokens, surroundings: Surroundings, owner: Owner) {
		this.#options = options;
		this.#tokens = tokens;
		this.#surroundings = surroundings;
		this.#owner = owner;
		this.#backoff = new Backoff(options.backoff, surroundings);
		this.#refreshBackoff = new Backoff(options.backoff, surroundings);
		const ping = () => this.#send({ type: "ping" });
		const dead = () => this.#lost(undefined, new RealtimeError("dead_link", "The link has died."));
		this.#heartbeat = new Heartbeat(options.heartbeat, surroundings, ping, dead);
	}

	/** Connects, unless it is already connecting. */
	connect(): void {
		if (!/idle|closed/.test(this.status.state)) return;
		this.#unwatch = this.#surroundings.watch((news) => this.#hear(news));
		this.#rejections = 0;
		this.#backoff.attempt = 0;
		void this.#attempt();
	}

	/** Closes it. */
	close(error?: RealtimeError): void {
		this.#drop();
		this.#unwatch?.();
		this.#unwatch = undefined;
		this.#tell({ state: "closed", attempt: this.#backoff.attempt, ...(error && { error }) });
	}

	/** Sends a frame if connected, and returns whether it did. */
	send(frame: object): boolean {
		const isConnected = this.status.state === "connected";
		if (isConnected) this.#send(frame);
		return isConnected;
	}

	async #attempt(): Promise<void> {
		this.#drop();
		const life = this.#life;
		this.#careful = false;
		this.#failure = undefined;
		this.#tell({ state: "connecting", attempt: this.#backoff.attempt });
		// A status handler may have closed the client.
		if (life !== this.#life) return;
		const late = () => this.#lost(undefined, new RealtimeError("timeout", "Connecting took too long."));
		this.#cancel = this.#surroundings.after(this.#options.connectTimeout, late);
		try {
			this.#options.check();
			const token = await this.#tokens.current();
			if (life === this.#life) this.#open(token);
		} catch (error) {
			if (life === this.#life) this.#lost(undefined, error as RealtimeError);
		}
	}

	#open(token: string): void {
		const socket = this.#options.openSocket();
		this.#socket = socket;
		socket.onopen = () => this.#introduce(token);
		socket.onmessage = ({ data }: { data: unknown }) => this.#receive(token, data);
		socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
			const message = this.status.state === "connected" ? "The connection ended" : "There is no connection";
			this.#lost(code, this.#failure ?? new RealtimeError(reason || "disconnected", `${message} (${code}).`));
		};
		// "close" follows, with the same information.
		socket.onerror = () => {};
	}

	#introduce(token: string): void {
		this.#send({ type: "auth", token, ...this.#owner.introduce(this.#careful) });
	}

	#receive(token: string, data: unknown): void {
		this.#heartbeat.heard();
		const frame = parse(data);
		const { code, message = "", events = [frame] } = frame as Partial<ErrorFrame & Batch>;
		const error = code === undefined ? undefined : new RealtimeError(code, message);
		const retry = error && retryOf(error.code);
		const isConnected = this.status.state === "connected";
		if (frame.type === "auth_success") this.#authenticated(frame, isConnected);
		else if (frame.type === "auth_expired") this.#expired();
		// The server checks whether the client still reads.
		else if (frame.type === "ping") this.#send({ type: "ping" });
		else if (retry === "no") this.close(error);
		else if (isConnected && retry === "token") this.#refreshFailed(error!);
		else if (isConnected) {
			// A handler may close the connection; the remaining events are replayed on the next one.
			for (const event of events) if (this.#socket) this.#owner.frame(event);
		}
		else if (frame.type === "error" && !this.#careful) {
			// Part of the auth frame was refused: try again without anything that is not known to be valid.
			this.#careful = true;
			this.#introduce(token);
		} else if (error) this.#failure = error;
	}

	#authenticated(frame: AuthSuccess, isRefresh: boolean): void {
		const { refreshAt, renewable } = this.#tokens;
		this.#rejections = this.#refreshBackoff.attempt = 0;
		if (renewable && refreshAt < Infinity) this.#refreshIn(refreshAt - this.#surroundings.now());
		if (!isRefresh) {
			this.#cancel();
			this.#backoff.connected();
			this.#heartbeat.start();
			// The owner reports it, once it has processed the frame.
			this.status = { state: "connected", attempt: this.#backoff.attempt };
		}
		this.#owner.authenticated(frame, isRefresh);
	}

	/** A connection or an attempt has ended. */
	#lost(closeCode: number | undefined, error: RealtimeError): void {
		if (this.#isFinal(error)) return this.close(error);
		const wait = this.#backoff.next(closeCode);
		this.#drop();
		this.#cancel = this.#surroundings.after(wait, () => void this.#attempt());
		this.#tell({ state: "waiting", attempt: this.#backoff.attempt, retryAt: this.#surroundings.now() + wait, error });
	}

	/** Records a failure, and returns whether another attempt would fail in the same way. */
	#isFinal({ code }: RealtimeError): boolean {
		const retry = retryOf(code);
		if (retry !== "token") return retry === "no";
		this.#tokens.reject();
		return !this.#tokens.renewable || ++this.#rejections > MAX_REJECTIONS;
	}

	/** Abandons the current socket: nothing that it still delivers is processed. */
	#drop(): void {
		this.#life += 1;
		this.#cancel();
		this.#cancelRefresh();
		this.#heartbeat.stop();
		const socket = this.#socket;
		this.#socket = undefined;
		if (socket) {
			socket.onopen = socket.onmessage = socket.onclose = null;
			socket.close(ON_PURPOSE);
		}
		if (this.status.state === "connected") this.#owner.disconnected();
	}

	#refreshIn(milliseconds: number): void {
		this.#cancelRefresh();
		this.#cancelRefresh = this.#surroundings.after(milliseconds, () => void this.#refresh());
	}

	/**
	 * The token has expired by the server's clock, so the same token from a cache, which uses this device's clock, does
	 * not help.
	 */
	#expired(): void {
		this.#tokens.reject();
		void this.#refresh();
	}

	/** Replaces the token of an established connection. */
	async #refresh(): Promise<void> {
		this.#cancelRefresh();
		const life = this.#life;
		try {
			const token = await this.#tokens.renew();
			if (life === this.#life) this.#send({ type: "auth", token });
		} catch (error) {
			if (life === this.#life) this.#refreshFailed(error as RealtimeError);
		}
	}

	/** There was no token, or the server refused it: try again later. The connection stays until the server closes it. */
	#refreshFailed(error: RealtimeError): void {
		if (!this.#isFinal(error)) this.#refreshIn(this.#refreshBackoff.next());
		this.#owner.report(error);
	}

	#hear(news: "online" | "offline" | "visible"): void {
		if (this.status.state === "connected") return this.#heartbeat.probe();
		// An attempt that began without a network may hang, and a waiting one need not wait any longer.
		const isWorthIt = news === "online" || (news === "visible" && this.status.state === "waiting");
		if (!isWorthIt) return;
		this.#backoff.attempt = 0;
		void this.#attempt();
	}

	#send(frame: object): void {
		try {
			this.#socket?.send(JSON.stringify(frame));
		} catch {
			// The socket is closing, and "close" follows.
		}
	}

	#tell(status: Status): void {
		this.status = status;
		this.#owner.status(status);
	}
}

/** The server sends only JSON; anything else comes from a broken intermediary and is ignored. */
function parse(data: unknown): ServerFrame {
	try {
		return JSON.parse(data as string);
	} catch {
		return { type: "pong" };
	}
}
