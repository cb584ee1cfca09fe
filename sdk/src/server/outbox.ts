/**
 * The outbox: a publication is written in the transaction of the row, and sent afterwards.
 *
 * A crash at any point loses nothing: a message's row stays until the Worker has accepted the message. If the row could
 * not be deleted, the next flush sends the message again with the same id, and the Worker answers without delivering
 * it, because it remembers ids for 10 minutes. Concurrent flushes send the same messages in the same order, and are
 * safe for the same reason.
 */
import { RealtimeError } from "./error.ts";
import type { Namespace } from "./namespace.ts";
import { createPublisher, type NamespaceMethods, type Publisher, type Rules } from "./publisher.ts";
import { parse } from "./request.ts";
import { type D1, type D1Statement, d1, type Sql } from "./sql.ts";
import type { Tables } from "./table.ts";

/** How much to flush. */
export interface FlushOptions {
	/** Only this organization's messages. */
	readonly organizationId?: string;
	/** The most batches of up to 100 messages of one organization. Default: 100. A Worker's requests are limited. */
	readonly batches?: number;
	/** Stops flushing. Unpublished messages remain. */
	readonly signal?: AbortSignal;
}

/** The result of a flush. */
export interface FlushReport {
	/** Messages that the Worker has accepted, now or in an earlier flush that crashed before it could delete them. */
	readonly published: number;
	/** Messages that the Worker will never accept. They stay in the table with their `error`, and are not retried. */
	readonly parked: number;
	/** Why some organizations' messages wait for the next flush, one error each. */
	readonly errors: readonly RealtimeError[];
	/** Whether it stopped at `batches` although more messages wait. */
	readonly more: boolean;
}

/** An outbox: the publishing functions return statements for the application's transaction, and `flush` publishes. */
export type Outbox<Names extends Tables, Spaces extends readonly Namespace[], Statement> = Publisher<Names, Statement> &
	NamespaceMethods<Spaces, Statement> & {
		/**
		 * Publishes what is waiting, in order within each organization, and deletes it. Call it after the commit, and
		 * from a cron trigger for what a crash has left behind.
		 *
		 * @throws {RealtimeError} when publishing fails for every organization alike (no connection, a wrong token)
		 */
		flush(options?: FlushOptions): Promise<FlushReport>;
	};

/** Sends messages of one organization. */
export type Send = (organizationId: string, messages: readonly unknown[], signal?: AbortSignal) => Promise<unknown>;

/** An outbox in `database`. */
export function createOutbox<Statement>(rules: Rules, send: Send, database: D1<Statement & D1Statement> | Sql<Statement>) {
	const sql: Sql<Statement> = "prepare" in database ? d1(database) : database;
	const publisher = createPublisher(rules, (compose, organizationId: string, options = {}) => {
		const message = compose(options);
		// A table that publishes nothing still returns a statement, so that the application's list of statements is
		// complete.
		if (!message) return sql.statement("SELECT 1", []);
		return sql.statement(INSERT, [organizationId, message.id, JSON.stringify(message), Date.now()]);
	});
	return { ...publisher, flush: (options?: FlushOptions) => flush(sql, send, options) };
}

interface Row {
	readonly position: number | string;
	readonly message: string;
}

type Counts = { -readonly [Name in "published" | "parked"]: FlushReport[Name] };

async function flush<Statement>(
	sql: Sql<Statement>,
	send: Send,
	{ organizationId, batches = 100, signal }: FlushOptions = {},
): Promise<FlushReport> {
	const report = { published: 0, parked: 0, errors: [] as RealtimeError[], more: false };
	const queue = organizationId === undefined ? await organizations() : [organizationId];
	let left = batches;
	for (const organization of queue) {
		signal?.throwIfAborted();
		report.more = left === 0;
		if (report.more) break;
		left -= 1;
		try {
			const rows = (await sql.run(sql.statement(WAITING, [organization, BATCH]))) as Row[];
			await publish(rows, organization, report);
			// Behind the others, so that nobody waits for an organization with many messages.
			if (rows.length === BATCH) queue.push(organization);
		} catch (error) {
			// Without an answer from the Worker, the error concerns no organization: the Worker is not running, or not at
			// this address.
			const isTheirs = error instanceof RealtimeError && error.retryable && error.status > 0 && error.code !== "unexpected_answer";
			if (!isTheirs) throw error;
			report.errors.push(error);
		}
	}
	return report;

	/** The organizations with waiting messages, the longest waiting first. */
	async function organizations(): Promise<string[]> {
		const rows = (await sql.run(sql.statement(ORGANIZATIONS, [batches + 1]))) as { organization_id: string }[];
		return rows.map((row) => row.organization_id);
	}

	/** Publishes and deletes rows of one organization, and parks those that the Worker rejects. */
	async function publish(rows: readonly Row[], organization: string, counts: Counts): Promise<void> {
		if (rows.length === 0) return;
		try {
			await send(organization, rows.map((row) => parse(row.message)), signal);
		} catch (error) {
			if (!(error instanceof RealtimeError) || (error.status !== 400 && error.status !== 413)) throw error;
			return separate(error, rows, organization, counts);
		}
		const places = rows.map(() => "?").join();
		await sql.run(sql.statement(`DELETE FROM realtime_outbox WHERE position IN (${places})`, rows.map((row) => row.position)));
		counts.published += rows.length;
	}

	/** Parks the rows that a rejection concerns, and publishes the others. */
	async function separate(error: RealtimeError, rows: readonly Row[], organization: string, counts: Counts): Promise<void> {
		const { code, message, field } = error;
		const all = rows.length === 1 || field === "organizationId";
		const guilty = rows.filter((_, index) => all || field?.startsWith(`messages[${index}]`));
		for (const row of guilty) {
			await sql.run(sql.statement(PARK, [`${code}: ${message}`, row.position]));
			counts.parked += 1;
		}
		// If it is unknown which one is meant (together they are too large), each half is tried.
		const half = guilty.length > 0 ? rows.length : rows.length / 2;
		const others = rows.filter((row) => !guilty.includes(row));
		await publish(others.slice(0, half), organization, counts);
		await publish(others.slice(half), organization, counts);
	}
}

/** The most messages in one request, and the most values in a statement of D1. */
const BATCH = 100;

/** The statement that the publishing functions of an outbox return. */
export const INSERT =
	"INSERT INTO realtime_outbox (organization_id, id, message, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
const ORGANIZATIONS =
	"SELECT organization_id FROM realtime_outbox WHERE error IS NULL GROUP BY organization_id ORDER BY MIN(position) LIMIT ?";
const WAITING =
	"SELECT position, message FROM realtime_outbox WHERE organization_id = ? AND error IS NULL ORDER BY position LIMIT ?";
const PARK = "UPDATE realtime_outbox SET error = ? WHERE position = ?";
