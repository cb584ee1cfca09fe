/** The hooks under StrictMode, with the real React, a DOM, and the real Worker. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Window } from "happy-dom";
import { browser } from "../src/client/index.ts";
import { broadcast, broken, insert, ORGANIZATION, publish, record, recordingSocket, remove, startRig, state, token, until, update } from "./client-rig.mjs";

const { server, open: openPlain } = await startRig({ history: { replay: 10 } });
/** The client's environment has no document; that is tested elsewhere. */
const open = (t, options) => openPlain(t, { surroundings: { ...browser(), watch: () => () => {} }, ...options });

// React looks for a DOM when it is loaded.
const window = new Window();
Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: false });
const { createElement, StrictMode } = await import("react");
const { createRoot } = await import("react-dom/client");
const { useBroadcast, useChanges, usePresence, useRealtime, useTable, useTopic } = await import("../src/react/index.ts");

/** Renders a hook under StrictMode. `views` has its result in each render. */
function render(t, hook, initial) {
	const views = record();
	const Probe = ({ value }) => {
		views.handler(hook(value));
		return null;
	};
	const root = createRoot(window.document.createElement("div"));
	const show = (value) => root.render(createElement(StrictMode, null, createElement(Probe, { value })));
	show(initial);
	const unmount = () => root.unmount();
	t.after(unmount);
	const latest = () => views.all.at(-1) ?? {};
	/** Resolves with the first view, now or later, that matches. */
	const view = async (isWanted) => {
		await until(() => isWanted(latest())).catch(() => assert.fail(`the wanted view did not come; the last is ${JSON.stringify(latest())}`));
		return latest();
	};
	return { show, unmount, view, views: views.all };
}

/** A table in a database, whose changes are published after they are committed. */
function database(table) {
	const rows = new Map();
	const queries = record();
	return {
		rows,
		queries: queries.all,
		query: async () => (queries.handler(), [...rows.values()]),
		async put(...given) {
			const changes = given.map((row) => (rows.has(row.id) ? update(table, row, rows.get(row.id)) : insert(table, row)));
			for (const row of given) rows.set(row.id, row);
			await publish(server.url, ...changes);
		},
		async delete(id) {
			rows.delete(id);
			await publish(server.url, remove(table, { id }));
		},
	};
}

const ids = ({ rows = [] }) => rows.map(({ id }) => id).join();

test("useTable reads once, and follows", async (t) => {
	const one = open(t, {});
	const claims = database("claims");
	claims.rows.set("a", { id: "a", status: "open" });
	const options = { query: claims.query, where: ({ status }) => status === "open", sort: (x, y) => (x.id < y.id ? -1 : 1) };
	const { view, views } = render(t, () => useTable(one, "claims", options));
	await view(({ status }) => status === "live");
	assert.equal(claims.queries.length, 1);
	assert.equal(views[0].status, "loading");
	await claims.put({ id: "c", status: "open" }, { id: "b", status: "open" }, { id: "d", status: "closed" });
	await view((list) => ids(list) === "a,b,c");
	await claims.put({ id: "a", status: "closed" }, { id: "d", status: "open" });
	await view((list) => ids(list) === "b,c,d");
	await claims.delete("c");
	await view((list) => ids(list) === "b,d");
	assert.equal(claims.queries.length, 1);
});

test("useTable misses no change that comes while it reads", async (t) => {
	const one = open(t);
	const claims = database("slow");
	const query = async () => {
		const answer = [...claims.rows.values()];
		await claims.put({ id: "meanwhile" });
		return answer;
	};
	const { view } = render(t, () => useTable(one, "slow", { query }));
	await view((list) => ids(list) === "meanwhile");
});

test("useTable needs no second query after a reconnect, and makes one after a gap", async (t) => {
	const one = open(t);
	const claims = database("gaps");
	const { view } = render(t, () => useTable(one, "gaps", { query: claims.query }));
	await view(({ status }) => status === "live");
	one.close();
	await view(({ status }) => status === "stale");
	await claims.put({ id: "a" }, { id: "b" });
	one.connect();
	await view((list) => ids(list) === "a,b" && list.status === "live");
	assert.equal(claims.queries.length, 1);

	one.close();
	for (let n = 0; n < 11; n += 1) await claims.put({ id: "a", n });
	await claims.delete("b");
	one.connect();
	const { rows } = await view((list) => ids(list) === "a" && list.status === "live");
	assert.equal(rows[0].n, 10);
	assert.equal(claims.queries.length, 2);
});

test("useTable survives crashes under a stream of changes", async (t) => {
	const one = open(t);
	const claims = database("stream");
	const { view } = render(t, () => useTable(one, "stream", { query: claims.query }));
	await view(({ status }) => status === "live");
	for (let n = 0; n < 100; n += 1) {
		await claims.put({ id: `${n % 7}`, n });
		if (n % 10 === 5) await claims.delete(`${(n + 3) % 7}`);
		if (n % 25 === 24) {
			await state(one, "connected");
			if (n % 50 === 49) await broken(one, () => server.evict(ORGANIZATION, "close"));
			else await server.evict(ORGANIZATION, "hibernate");
			// The next life begins with a single request: several at once often prevent an object from being evicted.
			await state(one, "connected");
		}
	}
	const expected = [...claims.rows.values()].map(({ id, n }) => `${id}:${n}`).sort().join();
	await view(({ rows, status }) => status === "live" && rows.map(({ id, n }) => `${id}:${n}`).sort().join() === expected);
});

test("useTable tells what fails, and reads again on demand", async (t) => {
	const one = open(t);
	let works = false;
	const query = async () => {
		if (!works) throw new Error("500");
		return [{ id: "a" }];
	};
	const failing = render(t, () => useTable(one, "fails", { query }));
	const { error, refetch } = await failing.view(({ status }) => status === "error");
	assert.equal(error.message, "500");
	works = true;
	await refetch();
	await failing.view((list) => ids(list) === "a" && list.status === "live");

	one.on.error(() => {});
	const refused = render(t, () => useTable(one, "payroll", { query }));
	assert.equal((await refused.view(({ status }) => status === "error")).error.code, "forbidden");
});

test("useTable shows another list when what it depends on changes", async (t) => {
	const one = open(t);
	const queries = record();
	const { show, view } = render(
		t,
		(project) => {
			const query = async () => (queries.handler(project), [{ id: `${project}1`, project }]);
			return useTable(one, "projects", { query, filter: `project=eq.${project}` }, [project]);
		},
		"x",
	);
	await view((list) => ids(list) === "x1" && list.status === "live");
	show("y");
	await view((list) => ids(list) === "y1" && list.status === "live");
	await publish(server.url, insert("projects", { id: "x2", project: "x" }), insert("projects", { id: "y2", project: "y" }));
	await view((list) => ids(list) === "y1,y2");
	show("y");
	assert.deepEqual(queries.all, ["x", "y"]);
});

test("StrictMode costs one subscription and one connection, and leaves nothing behind", async (t) => {
	const { WebSocket, sent } = recordingSocket();
	const one = open(t, { WebSocket });
	const heard = record();
	const { unmount, view } = render(t, () => {
		useChanges(one, "claims", "INSERT", (change) => heard.handler(change.new.id));
		useBroadcast(one, "ping", ({ payload }) => heard.handler(payload));
		return useRealtime(one);
	});
	await view(({ state }) => state === "connected");
	await publish(server.url, insert("claims", { id: "n" }), broadcast("ping", "p"));
	await heard.count(2);
	assert.deepEqual(heard.all, ["n", "p"]);
	unmount();
	await one.on("end", "*", () => {}).ready;
	assert.deepEqual(sent.map(({ type }) => type), ["auth", "unsubscribe", "subscribe"]);
	await publish(server.url, insert("claims", {}), broadcast("ping", "q"), insert("end", {}));
	assert.equal(heard.all.length, 2);
});

test("useBroadcast of a topic hears it and speaks there, with one function for the component's life", async (t) => {
	const { WebSocket, sent } = recordingSocket();
	const [mine, theirs] = [open(t, { WebSocket }), open(t)];
	const [heard, theirsHeard] = [record(), record()];
	await theirs.topic("room:1").on("*", theirsHeard.handler).ready;
	const sends = new Set();
	const { show, unmount, view } = render(t, (name) => {
		const send = useBroadcast(mine.topic("room:1"), "cursor", ({ payload }) => heard.handler(`${name} ${payload}`));
		sends.add(send);
	}, "one");
	await until(() => JSON.stringify(sent).includes('"room:1"'));
	await mine.on("barrier", "*", () => {}).ready;
	const [send] = sends;
	await send("cursor", 1);
	await heard.count(1);
	show("two");
	await send("cursor", 2);
	await heard.count(2);
	assert.deepEqual([heard.all, sends.size], [["one 1", "two 2"], 1]);
	unmount();
	await mine.on("end", "*", () => {}).ready;
	await theirs.topic("room:1").send("cursor", 3);
	await theirsHeard.count(3);
	await mine.on("end too", "*", () => {}).ready;
	assert.equal(heard.all.length, 2);
});

test("usePresence is one presence, also while its metadata changes", async (t) => {
	const [mine, theirs] = [open(t), open(t)];
	const watching = record();
	await theirs.topic("room:1").presence.on((members) => watching.handler(members.map(({ metadata }) => metadata.name).join())).ready;
	const { show, unmount, view } = render(t, (name) => usePresence(mine.topic("room:1").presence, { name }), "Ada");
	await view((members) => members.length === 1);
	show("Bea");
	await view((members) => members[0]?.metadata.name === "Bea");
	unmount();
	await watching.count(4);
	assert.deepEqual(watching.all, ["", "Ada", "Bea", ""]);
});

test("useTable merges what a publisher gives: some columns of a row, the key of a deleted one", async (t) => {
	const one = open(t);
	const queries = record();
	const rows = [{ id: "a", project_id: "p1", title: "A", status: "open" }, { id: "b", project_id: "p1", title: "B", status: "open" }];
	const query = async () => (queries.handler(), rows);
	const options = { query, filter: "project_id=eq.p1", where: ({ status }) => status === "open" };
	const { view } = render(t, () => useTable(one, "merged", options));
	await view(({ status }) => status === "live");
	await publish(server.url, update("merged", { id: "a", title: "A2" }, { id: "a", title: "A" }));
	const { rows: merged } = await view((list) => list.rows[0]?.title === "A2");
	assert.deepEqual(merged[0], { id: "a", project_id: "p1", title: "A2", status: "open" });
	await publish(server.url, remove("merged", { id: "b" }));
	await view((list) => ids(list) === "a");
	await publish(server.url, update("merged", { id: "a", project_id: "p2" }, { id: "a", project_id: "p1" }));
	await view((list) => ids(list) === "");
	await publish(server.url, insert("merged", { id: "c", project_id: "p2", status: "open" }), insert("merged", { id: "d", project_id: "p1", title: "D", status: "open" }));
	await view((list) => ids(list) === "d");
	assert.equal(queries.all.length, 1);
});

test("useTable reads again for a row that it does not know, and never shows a part of one", async (t) => {
	const one = open(t);
	const claims = [{ id: "a", project_id: "p1", status: "open" }];
	const query = async () => claims.filter(({ status }) => status === "open");
	const { view, views } = render(t, () => useTable(one, "parts", { query, filter: "project_id=eq.p1", where: ({ status }) => status === "open" }));
	await view(({ status }) => status === "live");
	claims.push({ id: "b", project_id: "p1", status: "open" });
	await publish(server.url, update("parts", { id: "b", status: "open" }, { id: "b", status: "closed" }));
	await view((list) => ids(list) === "a,b");
	assert.ok(views.every((list) => list.rows.every(({ project_id }) => project_id === "p1")));
});

test("useTable recovers by itself from a query that failed, and from a refusal", async (t) => {
	let roles = ["member"];
	let hours = 0;
	const surroundings = { ...browser(), watch: () => () => {}, now: () => Date.now() + hours * 3_600_000 };
	const one = open(t, { surroundings, getToken: () => token({ roles }) });
	one.on.error(() => {});
	let works = false;
	const query = async () => {
		if (!works) throw new Error("500");
		return [{ id: "a" }];
	};
	const failing = render(t, () => useTable(one, "recovers", { query }));
	await failing.view(({ status }) => status === "error");
	works = true;
	await failing.view((list) => ids(list) === "a" && list.status === "live");

	const refused = render(t, () => useTable(one, "payroll", { query, filter: "team=eq.1" }));
	await refused.view(({ status }) => status === "error");
	roles = ["admin"];
	one.close();
	hours += 2;
	one.connect();
	const list = await refused.view(({ status }) => status === "live");
	assert.equal(list.error, undefined);
	await publish(server.url, insert("payroll", { id: "b", team: 1 }));
	await refused.view((list) => ids(list) === "a,b");
});

test("mutate shows a row at once, and without a flicker until it comes, whatever its final key", async (t) => {
	const one = open(t);
	const { view, views } = render(t, () => useTable(one, "drafts", { query: async () => [], where: ({ status }) => status !== "closed" }));
	const { mutate } = await view(({ status }) => status === "live");
	const from = views.length;
	for (let n = 0; n < 8; n += 1) {
		const committed = mutate({ put: { id: `draft${n}`, n } }, () => publish(server.url, insert("drafts", { id: `${n}`, n })));
		await view(({ rows }) => rows.length === n + 1);
		await committed;
	}
	await view((list) => ids(list) === "0,1,2,3,4,5,6,7");
	const lengths = views.slice(from).map(({ rows }) => rows.length);
	assert.deepEqual(lengths, lengths.toSorted((a, b) => a - b), "a row that was there was gone");
	assert.ok(views.slice(from).every(({ rows }) => new Set(rows.map(({ n }) => n)).size === rows.length), "a row was there twice");

	await mutate({ put: { id: "0", status: "closed" } }, () => publish(server.url, update("drafts", { id: "0", status: "closed" }, null)));
	await mutate({ remove: { id: "1" } }, () => publish(server.url, remove("drafts", { id: "1" })).then((receipt) => ({ receipt })));
	await view((list) => ids(list) === "2,3,4,5,6,7");
	const commit = Promise.withResolvers();
	const failing = assert.rejects(mutate({ remove: { id: "2" } }, () => commit.promise), { message: "409" });
	await view((list) => ids(list) === "3,4,5,6,7");
	commit.reject(new Error("409"));
	await failing;
	await view((list) => ids(list) === "2,3,4,5,6,7");
});

test("a burst of changes is rendered once a frame", async (t) => {
	const one = open(t);
	const rows = Array.from({ length: 1_000 }, (_, id) => ({ id, n: 0 }));
	const { view, views } = render(t, () => useTable(one, "bursts", { query: async () => rows }));
	await view(({ status }) => status === "live");
	const [from, start] = [views.length, Date.now()];
	const changes = Array.from({ length: 500 }, (_, id) => update("bursts", { id, n: 1 }, { id, n: 0 }));
	for (let at = 0; at < 500; at += 100) await publish(server.url, ...changes.slice(at, at + 100));
	await view((list) => list.rows[499].n === 1);
	const frames = Math.ceil((Date.now() - start) / 16) + 1;
	// StrictMode renders twice.
	assert.ok((views.length - from) / 2 <= Math.min(frames, 100), `${views.length - from} renders in ${frames} frames`);
});

test("useTopic enters while it is mounted, hears its event, and says that it was refused", async (t) => {
	const [one, other] = [open(t, {}), open(t, { getToken: () => token({ sub: "u2" }) })];
	const heard = record();
	const topicOf = (name) => one.topic(name);
	const { show, view } = render(t, (name) => useTopic(topicOf(name), "cursor", ({ payload }) => heard.handler(payload.x)), "room:hook");
	await view(({ status }) => status === "entered");
	const room = other.topic("room:hook");
	await room.on("*", () => {}).ready;
	await room.send("other", {});
	await room.send("cursor", { x: 1 });
	await until(() => heard.all.length > 0);
	assert.deepEqual(heard.all, [1]);
	show("hall:none");
	const { error } = await view(({ status }) => status === "refused");
	assert.equal(error.code, "forbidden");
	show("room:hook");
	await view(({ status }) => status === "entered");
});
