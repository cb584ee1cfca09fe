/**
 * Native and Supabase clients with four roles in one organization: each receives what its role may see of one
 * publication, in its own frames, byte for byte as documented.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { subscribe, unread } from "../fixture.mjs";
import { isOldProtocol, startSupabase } from "../supabase.mjs";
import { behaviour } from "../supabase_matrix.mjs";

const tables = {
	employees: {
		requiredRoles: ["admin", "hr", "member"],
		columns: { id: "int8", email: "text", ssn: "text", team: "text" },
		masking: { ssn: { type: "ssn", show: { roles: ["hr"], or: "owner" } } },
		rows: [{ roles: ["admin", "hr"] }, { column: "team", claim: "team" }],
	},
};
const server = await startSupabase({ tables });
after(() => server.dispose());

const SSN = "123-45-6789";
const EMAIL = "john@yourdomain.com";
const row = { id: 1, team: "red", userId: "owner", ssn: SSN, email: EMAIL, salary: 91000 };
const publication = {
	maskingConfig: { email: { type: "email", show: { roles: ["admin"] } }, salary: { type: "redact", show: { roles: ["hr"] } } },
	columns: { salary: "numeric" },
};

/** What each may see of the row: user, role and team. */
const readers = [
	{ user: "ada", role: "admin", team: "blue", sees: { ...row, ssn: "*****6789", salary: "[REDACTED]" } },
	{ user: "hal", role: "hr", team: "blue", sees: { ...row, email: "j***@y*********.com" } },
	{ user: "owner", role: "member", team: "red", sees: { ...row, email: "j***@y*********.com", salary: "[REDACTED]" } },
	{ user: "mel", role: "member", team: "red", sees: { ...row, ssn: "*****6789", email: "j***@y*********.com", salary: "[REDACTED]" } },
	{ user: "bob", role: "member", team: "blue", sees: null },
	{ user: "gus", role: "guest", team: "red", sees: null },
];

/** The frame of an insert, as the server writes it to a Supabase client, without its time and its ids. */
function expectedFrame(client, topic, { ids, data }, record) {
	const payload = {
		ids,
		data: {
			schema: "public",
			table: "employees",
			commit_timestamp: data.commit_timestamp,
			type: "INSERT",
			columns: data.columns,
			record,
			errors: null,
		},
	};
	return isOldProtocol(client) ? { topic, event: "postgres_changes", payload, ref: null } : [null, null, topic, "postgres_changes", payload];
}

behaviour(server, "together with native clients of four roles: audience, masks and frames", async (tenant, client) => {
	const present = [];
	for (const { user, role, team, sees } of readers) {
		const claims = { team };
		const person = tenant.person(user, { roles: [role], claims });
		const room = person.room("db", { on: [["postgres_changes", { event: "*", schema: "public" }], ["broadcast", { event: "*" }]] });
		await room.join();
		const native = await tenant.native(user, [role], { claims });
		await subscribe(native, "s", { topic: "db", private: false });
		present.push({ user, sees, person, room, native });
	}
	await tenant.change("INSERT", "employees", row, publication);
	await tenant.say("db", "note", { ssn: SSN }, { maskingConfig: { ssn: { type: "ssn", show: { roles: ["hr"] } } }, targetRoles: ["hr", "member"] });
	for (const { user, sees, person, room, native } of present) {
		const natively = await unread(native);
		assert.deepEqual(natively.filter(({ table }) => table).map((frame) => frame.new), sees ? [sees] : [], user);
		const events = await room.unread();
		const changes = events.filter(({ handler }) => handler === "postgres_changes");
		assert.deepEqual(changes.map(({ payload }) => payload.new), sees ? [sees] : [], user);
		const notes = events.filter(({ handler }) => handler === "broadcast").map(({ payload }) => payload.payload);
		assert.deepEqual(notes, natively.filter(({ event }) => event === "note").map(({ payload }) => payload), user);
		const frames = person.socket.received.items.filter(({ event }) => event === "postgres_changes");
		for (const { raw, topic, payload } of frames) {
			assert.deepEqual(JSON.parse(raw), expectedFrame(client, topic, payload, sees), user);
		}
		assert.equal(frames.length, sees ? 1 : 0);
		// No masked value was sent to them in any form.
		const sent = person.socket.received.items.map(({ raw, bytes }) => raw ?? bytes.toString("latin1")).join("\n");
		assert.equal(sent.includes(SSN), user === "hal" || user === "owner", user);
		assert.equal(sent.includes(EMAIL), user === "ada", user);
		assert.equal(sent.includes("91000"), user === "hal", user);
	}
});

behaviour(server, "columns have their types, and only those that are sent are listed", async (tenant) => {
	const room = await tenant.person("hal", { roles: ["hr"] }).room("db", { on: [["postgres_changes", { event: "*", schema: "public" }]] }).join();
	const hal = tenant.person("hal", { roles: ["hr"] });
	const again = await hal.room("db", { on: [["postgres_changes", { event: "*", schema: "public" }]] }).join();
	await tenant.change("INSERT", "employees", row, { ...publication, fields: ["id", "salary"] });
	for (const one of [room, again]) assert.deepEqual((await one.next()).payload.new, { id: 1, salary: 91000 });
	const { payload } = await hal.socket.received.find(({ event }) => event === "postgres_changes");
	const types = Object.fromEntries(payload.data.columns.map(({ name, type }) => [name, type]));
	assert.deepEqual(types, { id: "int8", salary: "numeric" });
});
