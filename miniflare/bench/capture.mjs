/**
 * What capture costs writers, on a database that nobody reads: both sides take turns, and the database itself holds the watch, so
 * that neither a client nor a commit is part of it.
 */
import { comparison, figure, median } from "./table.mjs";

const ROUNDS = 41;
const SINGLE = 100;
const BULK = 1_000;
const WRITERS = 16;
const ROUNDS_OF_WRITERS = 11;
/** At least 0.9 of the transactions: so much more time for each. */
const MAX_SLOWDOWN = 1 / 0.9;

/** Somebody reads, busily, so that writers need not knock. */
const TABLES = `
	create table plain (id bigint generated always as identity primary key, owner uuid, room int, body text);
	create table captured (like plain including all);
	create table silent (like plain including all);
	select realtime_worker.enable_realtime('public', t) from unnest('{captured,silent}'::text[]) t;
	drop trigger silent_notify_knock on silent;
	update realtime_worker.reader set awake_until = now() + interval '1 day';
	create function insertion(target text, rows int) returns text language sql as $$
		select format('insert into %I (owner, room, body) select %L, 7, %L from generate_series(1, %s)', target,
			'00000000-0000-4000-8000-000000000001', 'a message of some forty characters, as usual', rows) $$;
	create function milliseconds(target text, statements int, rows int) returns float language plpgsql as $$
		declare insertion constant text := insertion(target, rows); began constant timestamptz := clock_timestamp();
		begin
			for n in 1..statements loop execute insertion; end loop;
			return extract(epoch from clock_timestamp() - began) * 1000 / statements;
		end $$;
	create procedure write(target text, period interval, inout transactions int default 0) language plpgsql as $$
		declare insertion constant text := insertion(target, 1); ends constant timestamptz := clock_timestamp() + period;
		begin
			while clock_timestamp() < ends loop execute insertion; commit; transactions := transactions + 1; end loop;
		end $$;`;

/** The rows of the table, measured in a database of its own. */
export async function capture(postgres) {
	const name = await postgres.database("capture");
	await postgres.sql(TABLES, { database: name });
	const session = postgres.session(name);
	const writers = Array.from({ length: WRITERS }, () => postgres.session(name));
	try {
		const single = await differences(session, SINGLE, 1);
		const bulk = await differences(session, 1, BULK);
		const [knocking, silent] = await pairs(session, ROUNDS_OF_WRITERS, "captured", "silent", (target) => transactionTime(writers, target));
		return [
			figure("database: what capture adds to an INSERT", "ms", median(single), { most: 0.15 }),
			figure("database: what capture adds to a row in bulk", "µs", (median(bulk) * 1_000) / BULK, { most: 20 }),
			comparison(`database: ${WRITERS} writers with capture against without the knock, each transaction`, "µs", knocking, silent, MAX_SLOWDOWN),
		];
	} finally {
		await Promise.all([session, ...writers].map((each) => each.close()));
	}
}

/** Milliseconds that capture adds to a statement, of each pair. */
async function differences(session, statements, rows) {
	const time = async (target) => Number(await session.run(`select milliseconds('${target}', ${statements}, ${rows})`));
	const [captured, plain] = await pairs(session, ROUNDS, "captured", "plain", time);
	return captured.map((duration, round) => duration - plain[round]);
}

/** Both sides take turns, and go first in turn; the first round compiles what the session uses. */
async function pairs(session, rounds, one, other, measure) {
	const measured = { [one]: [], [other]: [] };
	for (let round = 0; round <= rounds; round += 1) {
		for (const target of round % 2 === 0 ? [one, other] : [other, one]) {
			const value = await measure(target);
			if (round > 0) measured[target].push(value);
		}
		await session.run("truncate plain, captured, silent, realtime_worker.changes");
	}
	return [measured[one], measured[other]];
}

/** Microseconds for each transaction of all writers. */
async function transactionTime(writers, target) {
	const began = performance.now();
	const counts = await Promise.all(writers.map((writer) => writer.run(`call write('${target}', '300 ms')`)));
	return ((performance.now() - began) * 1_000) / counts.reduce((sum, count) => sum + Number(count), 0);
}
