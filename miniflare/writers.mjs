/**
 * Writers of a database whose transactions overlap, and what must have become of them.
 *
 * Each transaction writes into the table `ledger`, which nobody captures, what it changed: so the database itself knows
 * what was committed, whatever died while that was being said.
 */
import assert from "node:assert/strict";

export const LEDGER = "create table ledger (tag text primary key, changes json not null)";
/** A row that all writers update, which is the very first change. */
export const SHARED = `insert into messages (owner, body) values ('ada', 'w0-0:1'); insert into ledger values ('w0-0', '[["INSERT", "ada", "w0-0:1"]]')`;
/** The tag under which transactions outside of the writers are timed. */
export const BEFORE = [["w0-0", { began: 0, ended: 0 }]];
const OWNERS = ["ada", "bob"];

/** Runs transactions, one after the other, through every failure of its server. */
export class Writer {
	/** When each began and was known to have ended, on a clock that all writers share, by its tag. */
	transactions = new Map();
	#name;
	#open;
	#clock;

	/**
	 * @param {string} name
	 * @param {() => Promise<object>} open gives a session, as soon as there is a server
	 * @param {{now: number}} clock
	 */
	constructor(name, open, clock) {
		[this.#name, this.#open, this.#clock] = [name, open, clock];
	}

	async run(isOver) {
		let session = await this.#open();
		for (let turn = 1; !isOver(); turn += 1) {
			const tag = `${this.#name}-${turn}`;
			const began = (this.#clock.now += 1);
			try {
				for (const statement of statements(tag)) await session.run(statement);
			} catch {
				session = await this.#open();
			}
			this.transactions.set(tag, { began, ended: (this.#clock.now += 1) });
		}
		await session.close();
	}
}

/** A random transaction. */
function statements(tag) {
	const rows = (from, to, what = "") => {
		const one = (number) => ({ owner: OWNERS[number % 2], body: `${tag}:${number}${what}` });
		return Array.from({ length: to - from + 1 }, (_, index) => one(from + index));
	};
	const insert = (all) => `insert into messages (owner, body) values ${all.map(({ owner, body }) => `('${owner}', '${body}')`).join(", ")}`;
	const changes = [];
	const all = [may(0.3) ? "begin isolation level repeatable read" : "begin"];
	// Occasionally one that is larger than a batch.
	const count = may(0.01) ? 600 : 2 + Math.floor(Math.random() * 9);
	all.push(insert(rows(1, count)));
	changes.push(...rows(1, count).map((row) => ["INSERT", row.owner, row.body]));
	if (may(0.4)) all.push("savepoint one", insert(rows(1, 3, "never")), "rollback to one");
	if (may(0.4)) {
		all.push("savepoint two", insert(rows(count + 1, count + 3)), "release two");
		changes.push(...rows(count + 1, count + 3).map((row) => ["INSERT", row.owner, row.body]));
	}
	if (may(0.4)) {
		all.push(`update messages set body = '${tag}:1 again' where body = '${tag}:1'`);
		changes.push(["UPDATE", "bob", `${tag}:1 again`]);
	}
	if (may(0.3)) {
		all.push(`delete from messages where body = '${tag}:2'`);
		changes.push(["DELETE", "ada", `${tag}:2`]);
	}
	if (may(0.2)) {
		all.push(`update messages set body = '${tag}:shared' where id = 1`);
		changes.push(["UPDATE", "ada", `${tag}:shared`]);
	}
	all.push(`insert into ledger values ('${tag}', '${JSON.stringify(changes)}')`, may(0.85) ? "commit" : "rollback");
	return all;
}

const may = (share) => Math.random() < share;

/**
 * Asserts that somebody was told of every committed change that is theirs, once, transactions whole, and none before one
 * that was over when it began.
 *
 * @param {string} owner
 * @param {string[]} told each as `INSERT body`
 * @param {Map<string, string[][]>} ledger changes by the tag of their transaction
 * @param {Map<string, {began: number, ended: number}>} transactions
 */
export function assertTold(owner, told, ledger, transactions) {
	let place = 0;
	let begun = -1;
	const seen = new Set();
	while (place < told.length) {
		const [, tag] = told[place].match(/ (w\d+-\d+):/) ?? assert.fail(told[place]);
		assert.ok(!seen.has(tag), `${tag} came twice, or in parts`);
		seen.add(tag);
		const expected = changesOf(owner, ledger.get(tag) ?? []);
		assert.deepEqual(told.slice(place, place + Math.max(expected.length, 1)), expected);
		place += expected.length;
		const { began, ended } = transactions.get(tag);
		assert.ok(ended > begun, `${tag} was over before one that came earlier had begun`);
		begun = Math.max(begun, began);
	}
	const missing = [...ledger].filter(([tag, changes]) => !seen.has(tag) && changesOf(owner, changes).length > 0);
	assert.deepEqual(missing.map(([tag]) => tag), []);
}

/** The changes of a transaction that its owner receives. */
export function changesOf(owner, changes) {
	return changes.filter(([, whose]) => whose === owner).map(([operation, , body]) => `${operation} ${body}`);
}
