/**
 * The PostgreSQL source: from a statement to the frames that come of it, on a real PostgreSQL of this machine.
 */
import { subscribe } from "../fixture.mjs";
import { Database, reader } from "../source.mjs";
import { figure, median, percentile } from "./table.mjs";

export const SOURCE_SOCKETS = 500;
const CHANGES = 64;
const STATEMENTS = 300;
const STATEMENTS_OF_BURST = 10;

/** A table whose rows are seen by the members of their room: user-n alone is one of room n. */
const ROOMS = `
	create table members (room int, usr text, primary key (usr, room));
	grant select on members to authenticated;
	insert into members select n, 'user-' || n from generate_series(0, ${SOURCE_SOCKETS - 1}) n;
	create table notes (id bigint generated always as identity primary key, room int not null, body text not null);
	grant select on notes to authenticated;
	alter table notes enable row level security;
	create policy members on notes for select to authenticated using (exists (select from members m
		where m.room = notes.room and m.usr = current_setting('request.jwt.claims', true)::json ->> 'sub'));
	select realtime_worker.enable_realtime('public', 'notes');`;

/** By which policy, and rows of which each of some users sees one. */
const POLICIES = {
	owner: (first) => `insert into messages (owner, body) select 'user-' || n, 'hello' from generate_series(${first}, ${first + CHANGES - 1}) n`,
	membership: (first) => `insert into notes (room, body) select n, 'hello' from generate_series(${first}, ${first + CHANGES - 1}) n`,
};

export async function source({ rounds }) {
	const database = await Database.start();
	await database.sql(ROOMS);
	// All of its clients have one address, and are silent until they have sent their token.
	const server = await database.serve({}, { realtime: { limits: { pendingPerAddress: SOURCE_SOCKETS } } });
	const session = database.postgres.session(database.name);
	try {
		const first = await reader(server, "user-0");
		const single = await latencies(session, first);
		const others = await Promise.all(Array.from({ length: SOURCE_SOCKETS - 1 }, (_, index) => reader(server, `user-${index + 1}`)));
		const all = [first, ...others];
		await Promise.all(all.map((client) => subscribe(client, "n", { table: "notes" })));
		const judged = [];
		for (const [policy, insert] of Object.entries(POLICIES)) {
			const durations = await turns(session, all, rounds, 1, insert);
			const bursts = await turns(session, all, rounds, STATEMENTS_OF_BURST, insert);
			judged.push(
				figure(`database: ${CHANGES} changes judged for ${SOURCE_SOCKETS} users, policy by ${policy}`, "ms", median(durations)),
				figure(`database: changes a second with ${SOURCE_SOCKETS} users, policy by ${policy}`, "/s", (STATEMENTS_OF_BURST * CHANGES * 1_000) / median(bursts)),
			);
		}
		return [
			figure("database: statement to frame, p50", "ms", percentile(single, 50), { most: 15 }),
			figure("database: statement to frame, p99", "ms", percentile(single, 99), { most: 60 }),
			...judged,
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
async function turns(session, clients, rounds, statements, insert) {
	const all = [];
	for (let round = 0; round < rounds; round += 1) {
		const first = (round % Math.floor(clients.length / CHANGES)) * CHANGES;
		const chosen = clients.slice(first, first + CHANGES);
		const began = performance.now();
		const inserted = run(session, insert(first), statements);
		await Promise.all(chosen.map((client) => receive(client, statements)));
		all.push(performance.now() - began);
		await inserted;
	}
	return all;
}

async function run(session, statement, times) {
	for (let count = 0; count < times; count += 1) await session.run(statement);
}

async function receive(client, frames) {
	for (let count = 0; count < frames; count += 1) await client.next(({ type }) => type === "postgres_changes");
}
