/**
 * A list of rows that is kept current: first by a query, from then on by the stream, and by the query again where the
 * stream has a gap.
 *
 * The query begins when the subscription stands, so no change falls between the two: what comes while it runs is applied
 * to its answer. A change that the answer has already is applied a second time, to the same effect, and the last change
 * of each row wins: the list is right once the stream has caught up with the query.
 */
import type { Change, Client, Off, Status, Subscription } from "../client/index.ts";

/** Where the rows come from and which they are. */
export interface TableQuery<R extends object> {
	/** Reads all rows of the list, as from the application's API. */
	query: (signal: AbortSignal) => Promise<readonly R[]>;
	/** What tells rows apart; `row.id` unless given. Of a deleted row there may be no more than that. */
	key?: (row: Partial<R>) => unknown;
	/** Which rows are in the list, judged on every change. Without it, all of them. */
	where?: (row: R) => boolean;
	/** The order of the list. Without it, that of the query, with new rows last. */
	sort?: (one: R, other: R) => number;
	/** The table's schema; `public` unless given. */
	schema?: string;
	/**
	 * What the server sends at all. Name only columns that never change here (`project_id=eq.p1`), and the others in
	 * `where`: a row that leaves a filter is not announced.
	 */
	filter?: string;
}

/** The list. */
export interface TableState<R> {
	readonly rows: readonly R[];
	/**
	 * `loading`: there is no answer yet. `live`: every change is on its way here. `stale`: the connection is down, or the
	 * list is being read again. `error`: reading, or subscribing, has failed; the rows are the last ones known.
	 */
	readonly status: "loading" | "live" | "stale" | "error";
	readonly error?: unknown;
}

/** How long the query waits for the subscription, in milliseconds: a list without live changes is better than none. */
const PATIENCE = 2_000;

/** A list while somebody looks at it. */
export class TableStore<R extends object> {
	#client: Client<any>;
	#table: string;
	#options: () => TableQuery<R>;
	#listeners = new Set<() => void>();
	#rows: Map<unknown, R> | undefined;
	#state: TableState<R> = { rows: [], status: "loading" };
	/** Changes since the query that runs now began. */
	#missed: Change<R>[] | undefined;
	#error: { error: unknown } | undefined;
	#isSubscribed = false;
	#reading: AbortController | undefined;
	#stop: Off = () => {};

	/** @param options asked for at every use, so that functions may be new ones in every render */
	constructor(client: Client<any>, table: string, options: () => TableQuery<R>) {
		this.#client = client;
		this.#table = table;
		this.#options = options;
	}

	/** The list as it is; another object for every change. */
	readonly state = (): TableState<R> => this.#state;

	/** Keeps the list current for as long as there is a listener. */
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
		const reading = new AbortController();
		this.#reading = reading;
		this.#missed = [];
		this.#error = undefined;
		this.#show();
		try {
			const answer = await this.#options().query(reading.signal);
			if (reading.signal.aborted) return;
			this.#rows = new Map(answer.map((row) => [this.#key(row), row]));
			for (const change of this.#missed) this.#apply(change);
		} catch (error) {
			if (reading.signal.aborted) return;
			this.#error = { error };
		}
		this.#missed = undefined;
		this.#reading = undefined;
		this.#show();
	};

	#start(): void {
		const { schema, filter } = this.#options();
		const options = { ...(schema && { schema }), ...(filter && { filter }) };
		const receive = (change: unknown) => this.#receive(change as Change<R>);
		const subscription: Subscription = this.#client.on(this.#table as "*", "*", receive, options);
		const read = () => void this.refetch();
		const offs = [subscription.off, this.#client.on.gap(read), this.#client.on.status((status) => this.#follow(status))];
		let isOver = false;
		const impatient = setTimeout(read, PATIENCE);
		const settled = (error?: { error: unknown }) => {
			if (isOver) return;
			clearTimeout(impatient);
			this.#isSubscribed = !error;
			if (!error) return read();
			this.#error = error;
			this.#show();
		};
		subscription.ready.then(() => settled(), (error: unknown) => settled({ error }));
		this.#stop = () => {
			isOver = true;
			clearTimeout(impatient);
			this.#isSubscribed = false;
			this.#reading?.abort();
			this.#reading = this.#missed = undefined;
			for (const off of offs) off();
		};
	}

	#receive(change: Change<R>): void {
		this.#missed?.push(change);
		if (!this.#rows) return;
		this.#apply(change);
		this.#show();
	}

	#apply(change: Change<R>): void {
		const rows = this.#rows!;
		const { where = () => true } = this.#options();
		const { new: row, old } = change;
		// The key itself may have changed.
		if (old && (!row || this.#key(old) !== this.#key(row)) && this.#key(old) !== undefined) rows.delete(this.#key(old));
		if (!row) return;
		if (where(row)) rows.set(this.#key(row), row);
		else rows.delete(this.#key(row));
	}

	#follow({ state }: Status): void {
		if (state === "connected" || state === "waiting" || state === "closed") this.#show();
	}

	#show(): void {
		const { sort } = this.#options();
		const rows = [...(this.#rows?.values() ?? [])];
		const isLive = this.#client.status.state === "connected" && this.#isSubscribed && !this.#reading;
		const status = this.#error ? "error" : !this.#rows ? "loading" : isLive ? "live" : "stale";
		this.#state = { rows: sort ? rows.sort(sort) : rows, status, ...this.#error };
		for (const listener of this.#listeners) listener();
	}

	#key(row: Partial<R>): unknown {
		const { key } = this.#options();
		return key ? key(row) : (row as { id?: unknown }).id;
	}
}
