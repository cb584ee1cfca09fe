/**
 * Every example of the client's and the hooks' documentation compiles and runs against the built Worker, and does what
 * it shows.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, test } from "node:test";
import * as exported from "realtime-worker/client";
import { publicMembers, sdk, writeExamples } from "./client-examples.mjs";
import { application, HAPPENINGS } from "./client-application.mjs";
import { broadcast, insert, next, publish, remove, startRig, state, token, until, update } from "./client-rig.mjs";

const rig = await startRig({ history: { replay: 10 } });
const { examples, folder } = await writeExamples();
const app = await application(rig.server);
after(() => app.leave());

test("every public function has an example", () => {
	const members = publicMembers();
	assert.ok(members.length >= 20, members.join());
	for (const { name, comment } of members) assert.match(comment, /@example/, name);
});

test("the examples compile", () => {
	const { status, stdout } = spawnSync(`${sdk}node_modules/.bin/tsc`, ["--project", folder]);
	assert.equal(status, 0, `${stdout}`);
});

for (const { path, name, code } of examples) {
	test(`${path}: ${name}`, async (t) => {
		const wanted = Object.keys(HAPPENINGS).filter((happening) => HAPPENINGS[happening].test(code));
		assert.notEqual(wanted.length, 0, "it shows nothing");
		const other = rig.open(t, { getToken: () => token({ sub: "bob" }) });
		const page = app.enter(t, other, exported.createClient);
		const module = await import(`${folder}${name.replace(/tsx?$/, "js")}`);
		page.show(module);
		const one = module.client ?? globalThis.client;
		t.after(() => one.close());
		await live(one, other, page, code);
		await until(() => wanted.every((happening) => page.has(happening))).catch(() => {
			assert.deepEqual(wanted.filter((happening) => !page.has(happening)), [], "these have not happened");
		});
	});
}

/** A life of the organization, with one of everything. */
async function live(one, other, page, code) {
	other.presence.track({ name: "Bob" });
	other.topic("room:1").presence.track({ name: "Bob" });
	await one.on("barrier", "*", () => {}).ready;
	await other.topic("room:1").on("barrier", () => {}).ready;
	const claim = { id: "c1", title: "Second", status: "open", project_id: "1" };
	await other.topic("room:1").send("cursor", { x: 5, y: 5 });
	const handled = next((handler) => one.on.broadcast("last", handler));
	await publish(
		rig.server.url,
		insert("claims", claim),
		update("claims", { ...claim, title: "Changed" }, claim),
		remove("claims", claim),
		insert("claims", { ...claim, id: "c2", title: "Third" }),
		broadcast("extraction:started", { materialId: "m1" }),
		broadcast("processing-complete", { materialId: "m1" }),
		broadcast("task-assigned", { taskId: "t1" }),
		broadcast("last", null),
	);
	await handled;
	if (/error/.test(code)) await one.on("payroll", "*", () => {}).ready.catch(() => {});
	if (/gap/.test(code)) await miss(one);
	// A member that joins and leaves within one presence window was never there for the others.
	if (/untrack/.test(code)) await until(() => page.has("track"));
	app.turn("pagehide");
	if (code.includes("logout")) app.turn("logout");
	if (code.includes("signIn")) app.refuse();
}

/** The client misses more than is replayed. */
async function miss(one) {
	await state(one, "connected");
	one.close();
	for (let n = 0; n < 11; n += 1) await publish(rig.server.url, broadcast("missed", n));
	one.connect();
	await state(one, "connected");
}
