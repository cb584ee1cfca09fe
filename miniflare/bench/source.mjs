/**
 * The PostgreSQL source: from a statement to the frames that come of it, on a real PostgreSQL of this machine.
 */
import { Database, reader } from "../source.mjs";
import { figure, median, percentile } from "./table.mjs";

export const SOURCE_SOCKETS = 500;
const CHANGES = 64;
const STATEMENTS = 300;
const STATEMENTS_OF_BURST = 10;

export async function source({ rounds }) {
	const database = await Database.start();
	const server = await database.serve();
	const session = database.postgres.session(database.name);
	try {
		const first = await reader(server, "user-0");
		const single = await latencies(session, first);
		const others = await Promise.all(Array.from({ length: SOURCE_SOCKETS - 1 }, (_, index) => reader(server, `user-${index + 1}`)));
		const all = [first, ...others];
		const durations = await turns(session, all, rounds, 1);
		const bursts = await turns(session, all, rounds, STATEMENTS_OF_BURST);
		return [
			figure("database: statement to frame, p50", "ms", percentile(single, 50)),
			figure("database: statement to frame, p99", "ms", percentile(single, 99)),
			figure(`database: ${CHANGES} changes judged for ${SOURCE_SOCKETS} users`, "ms", median(durations)),
			figure(`database: changes a second with ${SOURCE_SOCKETS} users`, "/s", (STATEMENTS_OF_BURST * CHANGES * 1_000) / median(bursts)),
		];
	} finally {
		await session.close();
		await server.dispose();
		await database.dispose();
	}
}

/** Milliseconds from the start of each statement to its frame. */
async function latencies(session, client) {
	const all = [];
	for (let count = 0; count < STATEMENTS; count += 1) {
		const began = performance.now();
		const inserted = session.run("insert into messages (owner, body) values ('user-0', 'hello')");
		await client.next(({ type }) => type === "postgres_changes");
		all.push(performance.now() - began);
		await inserted;
	}
	return all;
}

/** Milliseconds from the start of statements, each with a row for each of some users, until these have all their frames. */
async function turns(session, clients, rounds, statements) {
	const all = [];
	for (let round = 0; round < rounds; round += 1) {
		const first = (round % Math.floor(clients.length / CHANGES)) * CHANGES;
		const chosen = clients.slice(first, first + CHANGES);
		const rows = `select 'user-' || n, 'hello' from generate_series(${first}, ${first + CHANGES - 1}) n`;
		const began = performance.now();
		const inserted = insert(session, rows, statements);
		await Promise.all(chosen.map((client) => receive(client, statements)));
		all.push(performance.now() - began);
		await inserted;
	}
	return all;
}

async function insert(session, rows, statements) {
	for (let count = 0; count < statements; count += 1) await session.run(`insert into messages (owner, body) ${rows}`);
}

async function receive(client, frames) {
	for (let count = 0; count < frames; count += 1) await client.next(({ type }) => type === "postgres_changes");
}
