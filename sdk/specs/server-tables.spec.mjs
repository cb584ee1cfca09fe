/**
 * Tables: what the helper applies and what the Worker enforces come from one declaration, and never disagree.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ACCESS_TOKEN, join, start, unread } from "../../miniflare/fixture.mjs";
import { createRealtime, defineTable, realtimeVariable } from "realtime-worker/server";

const tables = {
	employees: defineTable({
		onDelete: false,
		requiredRoles: ["member", "admin"],
		fields: ["id", "name", "ssn"],
		masking: { ssn: { type: "ssn", show: { roles: ["admin", "hr"] } } },
	}),
	secrets: defineTable({ enabled: false }),
	"billing.invoices": defineTable({ onInsert: false, onUpdate: false, requiredRoles: ["admin"] }),
};

const unruly = await start();
after(() => unruly.dispose());
const ruled = await start(realtimeVariable({ tables, limits: { connections: 100 } }));
after(() => ruled.dispose());

const envOf = (server) => ({ REALTIME_URL: server.url, ACCESS_TOKEN });
/** Calls of every kind, on every table. */
async function publishAll(realtime) {
	const row = { id: "e1", name: "Grace", ssn: "123-45-6789", salary: 1 };
	const receipts = [
		await realtime.insert("employees", row, "org_1"),
		await realtime.insert("employees", row, "org_1", { fields: ["id", "ssn", "salary"] }),
		await realtime.insert("employees", row, "org_1", { targetRoles: ["admin", "guest"] }),
		await realtime.insert("employees", row, "org_1", { maskingConfig: { ssn: { type: "ssn", show: { roles: ["hr"] } } } }),
		await realtime.insert("employees", row, "org_1", { maskingConfig: { name: { type: "name" } } }),
		await realtime.update("employees", row, { ...row, name: "G." }, "org_1", { userId: "mel" }),
		await realtime.delete("employees", { id: "e1" }, "org_1"),
		await realtime.insert("secrets", row, "org_1"),
		await realtime.insert("billing.invoices", { id: 1 }, "org_1"),
		await realtime.delete("billing.invoices", { id: 1 }, "org_1"),
	];
	return receipts;
}

const people = [["ada", ["admin"]], ["mel", ["member"]], ["hal", ["hr", "member"]], ["gus", ["guest"]]];

/** What everyone sees of it. */
async function views(server, realtime) {
	const clients = await Promise.all(people.map(([user, roles]) => join(server, user, roles)));
	await publishAll(realtime);
	const seen = await Promise.all(clients.map(unread));
	await Promise.all(clients.map((client) => client.close()));
	return seen;
}

test("the helper and the Worker apply the same, alone and together", async () => {
	const byHelper = await views(unruly, createRealtime(envOf(unruly), { tables }));
	const byWorker = await views(ruled, createRealtime(envOf(ruled)));
	const byBoth = await views(ruled, createRealtime(envOf(ruled), { tables }));
	assert.deepEqual(byHelper, byWorker);
	assert.deepEqual(byBoth, byWorker);
	assert.deepEqual(byWorker.map((frames) => frames.length), [6, 5, 4, 0]);
	assert.deepEqual(byWorker[1][0].new, { id: "e1", name: "Grace", ssn: "*****6789" });
});

test("what is switched off is not even sent", async () => {
	const receipts = await publishAll(createRealtime(envOf(unruly), { tables }));
	assert.deepEqual(receipts.map((receipt) => receipt?.accepted), [1, 1, 1, 1, 1, 1, undefined, undefined, undefined, 1]);
	const batch = createRealtime(envOf(unruly), { tables }).batch("org_1", (batch) => batch.insert("secrets", {}));
	assert.equal(await batch, undefined);
});

test("two masks for one column: the stricter", async () => {
	const masked = defineTable({ masking: { email: { type: "email", show: { roles: ["admin"], or: "owner" } } } });
	const realtime = createRealtime(envOf(unruly), { tables: { masked } });
	const client = await join(unruly, "ada", ["admin"], { organizationId: "org_strict" });
	const row = { id: 1, userId: "ada", email: "john@yourdomain.com" };
	const publish = (email) => realtime.insert("masked", row, "org_strict", { maskingConfig: { email } });
	await publish({ type: "email" });
	await publish({ type: "name", show: { roles: ["hr"] } });
	await publish({ type: "email", show: { or: "owner" } });
	await publish({ type: "redact", show: { roles: ["admin"] } });
	const seen = (await unread(client)).map((frame) => frame.new.email);
	assert.deepEqual(seen, ["j***@y*********.com", "[REDACTED]", "john@yourdomain.com", "john@yourdomain.com"]);
});

test("a table that is not defined, and roles that exclude each other, are mistakes", async () => {
	const realtime = createRealtime(envOf(unruly), { tables });
	await assert.rejects(realtime.insert("employes", {}, "org_1"), { code: "invalid_request", field: "table" });
	await assert.rejects(realtime.insert("toString", {}, "org_1"), { code: "invalid_request", field: "table" });
	const excluded = realtime.insert("employees", {}, "org_1", { targetRoles: ["guest"] });
	await assert.rejects(excluded, { code: "invalid_request", field: "targetRoles" });
	assert.throws(() => realtime.outbox({ statement: assert.fail }).insert("employes", {}, "org_1"), { field: "table" });
});
