/**
 * A list of rows that is kept current: first by a query, then by the stream, and by the query again after a gap.
 *
 * The query starts when the subscription is active, so no change falls between the two: changes that arrive while it
 * runs are applied to its answer. A change that the answer already includes is applied again, with the same effect, and
 * the last change of each row wins. The list is right once the stream has caught up with the query.
 */
import type { Change, Client, Off, RealtimeError, Status, Subscription, TableOptions } from "../client/index.ts";
import { type Draft, type Drafted, drafted, receiptIn } from "./drafts.ts";
import { Rows } from "./rows.ts";
import type { TableQuery } from "./table-query.ts";

/** The list. */
export interface TableState<R> {
	readonly rows: readonly R[];
	/**
	 * `loading`: there is no answer yet. `live`: every change arrives. `stale`: disconnected, or the list is being read
	 * again. `error`: reading or subscribing has failed; the rows are the last known ones, and it is retried.
	 */
	readonly status: "loading" | "live" | "stale" | "error";
	readonly error?: unknown;
}

/** How long the query waits for the subscription, in milliseconds. A list without live changes is better than none. */
const PATIENCE = 2_000;
/** How long changes are collected for one render, in milliseconds: a frame. */
const FRAME = 16;
/** The minimum time between two queries that changes cause, in milliseconds. */
const PAUSE = 1_000;
/** The maximum time until a failed query is retried, in milliseconds. */
const MAX_WAIT = 30_000;

/** A list, kept current while it has listeners. */
export class TableStore<R extends object> {
	#client: Client<any>;
	#table: string;
	#options: () => TableQuery<R>;
	#listeners = new Set<() => void>();
	#rows: Rows<R>;
	#drafts = new Set<Drafted<R>>();
	/** The next render for changes, if one is due. */
	#rendering: ReturnType<typeof setTimeout> | undefined;
	#isLoaded = false;
	#state: TableState<R> = { rows: [], status: "loading" };
	/** Changes since the current query began. */
	#missed: Change<R>[] | undefined;
	#error: { error: unknown } | undefined;
	#isSubscribed = false;
	#rereading: ReturnType<typeof setTimeout> | undefined;
	#readAt = 0;
	/** Consecutive failed queries. */
	#failures = 0;
	#reading: AbortController | undefined;
	#stop: Off = () => {};

	/** @param options asked for at every use, so that functions may be new ones in every render */
	constructor(client: Client<any>, table: string, options: () => TableQuery<R>) {
		this.#client = client;
		this.#table = table;
		this.#options = options;
		this.#rows = new Rows(options);
	}

	/** The current list; a new object for every change. */
	readonly state = (): TableState<R> => this.#state;

	/** Keeps the list current while there is a listener. */
	readonly subscribe = (listener: () => void): Off => {
		this.#listeners.add(listener);
		if (this.#listeners.size === 1) this.#start();
		return () => {
			if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.#stop();
		};
	};

	/** Reads the list again. */
	readonly refetch = async (): Promise<void> => {
		this.#reading?.abort();
		clearTimeout(this.#rereading);
		this.#rereading = undefined;
		const reading = new AbortController();
		this.#reading = reading;
		this.#readAt = Date.now();
		this.#missed = [];
		this.#error = undefined;
		this.#show();
		try {
			const answer = await this.#options().query(reading.signal);
			if (reading.signal.aborted) return;
			this.#rows.replace(answer);
			this.#isLoaded = true;
			this.#failures = 0;
			// All of them, even if one makes it necessary to read again.
			const isKnown = this.#missed.map((change) => this.#rows.apply(change));
			if (isKnown.includes(false)) this.#reread();
		} catch (error) {
			if (reading.signal.aborted) return;
			this.#error = { error };
			this.#reread(Math.min(MAX_WAIT, PAUSE * 2 ** this.#failures++));
		}
		this.#missed = undefined;
		this.#reading = undefined;
		this.#show();
	};

	/** Shows a draft until the list has received what `commit` has changed, or `commit` has failed. */
	readonly mutate = async <T>(draft: Draft<R>, commit: () => Promise<T>): Promise<T> => {
		const shown = drafted(draft);
		this.#drafts.add(shown);
		this.#show();
		try {
			const answer = await commit();
			const receipt = receiptIn(answer);
			// Without a position, or without a stream, the list is as the query returns it.
			await (receipt ? this.#client.caughtUp(receipt).catch(this.refetch) : this.refetch());
			return answer;
		} finally {
			this.#drafts.delete(shown);
			this.#show();
		}
	};

	#start(): void {
		const subscriptions = this.#listen();
		const read = () => void this.refetch();
		const offs = [this.#client.on.gap(read), this.#client.on.status((status) => this.#follow(status))];
		const impatient = setTimeout(read, PATIENCE);
		const standing = new Set<Subscription>();
		const settled = (one: Subscription, error?: RealtimeError) => {
			clearTimeout(impatient);
			// What a disconnect interrupts is resumed, and nothing of it is missed.
			const isRefused = error !== undefined && this.#client.status.state === "connected";
			if (isRefused) standing.delete(one);
			else if (!error) standing.add(one);
			this.#settled(standing.size === subscriptions.length, isRefused ? error : undefined);
		};
		for (const one of subscriptions) offs.push(one.watch((error) => settled(one, error)));
		this.#stop = () => {
			clearTimeout(impatient);
			clearTimeout(this.#rendering);
			clearTimeout(this.#rereading);
			this.#rendering = this.#rereading = undefined;
			this.#isSubscribed = false;
			this.#reading?.abort();
			this.#reading = this.#missed = undefined;
			for (const off of [...offs, ...subscriptions.map((one) => one.off)]) off();
		};
	}

	/** The server has confirmed the subscription, or refused it for now; it may be requested again. */
	#settled(isSubscribed: boolean, error: RealtimeError | undefined): void {
		const wasSubscribed = this.#isSubscribed;
		this.#isSubscribed = isSubscribed;
		if (error) {
			this.#error = { error };
			this.#show();
		} else if (isSubscribed ? !wasSubscribed : !this.#isLoaded && !this.#reading) {
			// A list without live changes is better than none.
			if (isSubscribed || this.#client.status.state !== "connected") void this.refetch();
		}
	}

	/**
	 * An update or a delete may lack the filter's columns, and the server would not send it, so they are requested
	 * without the filter.
	 */
	#listen(): readonly Subscription[] {
		const { schema, filter } = this.#options();
		const receive = (change: unknown) => this.#receive(change as Change<R>);
		const on = (event: "*" | "INSERT" | "UPDATE" | "DELETE", options: TableOptions) =>
			this.#client.on(this.#table as "*", event, receive, { ...(schema && { schema }), ...options });
		return filter ? [on("INSERT", { filter }), on("UPDATE", {}), on("DELETE", {})] : [on("*", {})];
	}

	#receive(change: Change<R>): void {
		this.#missed?.push(change);
		if (!this.#isLoaded) return;
		if (!this.#rows.apply(change)) return this.#reread();
		// A burst of changes is rendered once.
		this.#rendering ??= setTimeout(() => this.#show(), FRAME);
	}

	/** Reads the list again soon, but not for every change of a burst. */
	#reread(wait = PAUSE): void {
		this.#rereading ??= setTimeout(() => {
			this.#rereading = undefined;
			void this.refetch();
		}, Math.max(0, this.#readAt + wait - Date.now()));
	}

	#follow({ state }: Status): void {
		if (state === "connected" && this.#failures > 0) void this.refetch();
		if (state === "connected" || state === "waiting" || state === "closed") this.#show();
	}

	#show(): void {
		clearTimeout(this.#rendering);
		this.#rendering = undefined;
		const rows = this.#rows.list(this.#drafts);
		const isLive = this.#client.status.state === "connected" && this.#isSubscribed && !this.#reading;
		const status = this.#error ? "error" : !this.#isLoaded ? "loading" : isLive ? "live" : "stale";
		this.#state = { rows, status, ...this.#error };
		for (const listener of this.#listeners) listener();
	}
}
