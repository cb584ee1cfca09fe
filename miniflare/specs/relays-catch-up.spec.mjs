/**
 * What the organization's object had stored and lost on its way to relays: they read it from the history, asleep or awake.
 */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as path } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { insert, join, publish, start, stats } from "../fixture.mjs";

const SHARE = 3;
const RELAYS = 3;

const persist = await mkdtemp(path(tmpdir(), "catch-up-"));
const server = await start({ relays: { sockets: SHARE, max: RELAYS } }, { persist });
after(async () => {
	await server.dispose();
	await rm(persist, { recursive: true, force: true });
});

/** Stores the next row as an object does that ends before its relays have been told. */
async function storeUntold(id) {
	const files = (await readdir(persist, { recursive: true })).filter((file) => file.endsWith(".sqlite"));
	let stored = 0;
	for (const file of files) {
		const database = new DatabaseSync(path(persist, file));
		if (database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'history'").get() !== undefined) {
			const row = database.prepare(
				`INSERT INTO history (offset, time, version, text, topic, place, total_bytes)
				 SELECT offset + 1, time, version, replace(text, ?, ?), topic, place, total_bytes + length(text)
				 FROM history ORDER BY offset DESC LIMIT 1`,
			);
			stored += Number(row.run(`"id":${id - 1}`, `"id":${id}`).changes);
			database.exec("UPDATE meta SET value = '2' WHERE key = 'relays'");
		}
		database.close();
	}
	assert.equal(stored, 1, files.join());
}

test("relays read what they missed by offset, their sockets stay open and get it in its place, masked for each", async () => {
	const organizationId = "org_lost";
	const clients = [];
	while (clients.length < SHARE * (RELAYS + 1)) {
		clients.push(await join(server, `user-${clients.length}`, [clients.length % 2 ? "admin" : "member"], { organizationId }));
	}
	const row = (id) => ({ ...insert("people", { id, ssn: "123-45-6789" }), maskingConfig: { ssn: { type: "ssn", show: { roles: ["admin"] } } } });
	const isRow = (id) => (frame) => frame.new?.id === id;
	await publish(server, { organizationId, ...row(0) });
	for (const client of clients) await client.next(isRow(0));
	for (const relay of [1, 2]) await server.evictRelay(organizationId, relay, "hibernate");
	await server.evict(organizationId, "hibernate");
	await storeUntold(1);
	await publish(server, { organizationId, ...row(2) });
	for (const [number, client] of clients.entries()) {
		await client.next(isRow(2));
		// The object's own sockets were told when the row was stored.
		const expected = number < SHARE ? [0, 2] : [0, 1, 2];
		const ssn = number % 2 ? "123-45-6789" : "*****6789";
		const seen = client.frames.filter((frame) => frame.new).map((frame) => [frame.new.id, frame.new.ssn]);
		assert.deepEqual(seen, expected.map((id) => [id, ssn]), `client ${number}`);
	}
	const { connections, missedByRelays } = await stats(server, organizationId);
	assert.deepEqual([connections, missedByRelays.lost], [clients.length, 0]);
	// What was stored before they asked they have read too.
	assert.ok(missedByRelays.recovered >= RELAYS, JSON.stringify(missedByRelays));
	await Promise.all(clients.map((client) => client.close()));
});
