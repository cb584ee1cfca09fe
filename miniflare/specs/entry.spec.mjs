/**
 * The module that workerd loads, with a stand-in for the Wasm that panics on command, because the Wasm itself never
 * does.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { pathToFileURL } from "node:url";

const folder = mkdtempSync(join(tmpdir(), "entry-"));
after(() => rmSync(folder, { recursive: true }));
// workerd's global scope is an event target, unlike Node's.
const listeners = [];
globalThis.addEventListener = (_, listener) => listeners.push(listener);
mock.method(console, "log", () => {});
mock.method(console, "error", () => {});

const exports = `
	const state = { criticalError: false, instanceId: 0 };
	export const calls = [];
	export const __worker_init_state = () => state;
	export const __wbg_reset_state = () => calls.push("reset");
	const act = (what) => {
		calls.push(what);
		if (what === "panic") throw new WebAssembly.RuntimeError("unreachable");
		if (what === "panic later") return Promise.reject(new WebAssembly.RuntimeError("unreachable"));
		if (what === "fail") throw new Error("an ordinary failure");
		return what;
	};
	export class Room {
		constructor(state, env) { calls.push("construct " + env); }
		fetch(what) { return act(what); }
		webSocketMessage(socket, message) { return act("message"); }
	}
	export const fetch = (what) => act(what);
`;
const entry = readFileSync(new URL("../../xtask/src/entry.js", import.meta.url), "utf8");
writeFileSync(join(folder, "package.json"), `{"type":"module"}`);
writeFileSync(join(folder, "index.js"), exports);
writeFileSync(join(folder, "entry.js"), `${entry}\nexport const Room = durableObject(wasm.Room);\nexport default { fetch: handler(wasm.fetch) };`);
const { default: worker, Room } = await import(pathToFileURL(join(folder, "entry.js")));
const { calls } = await import(pathToFileURL(join(folder, "index.js")));

/** The calls since the last look. */
const seen = () => calls.splice(0);

test("after a panic the Wasm starts anew, and each object is constructed again when it is next called", async () => {
	const [one, other] = [new Room({}, "one"), new Room({}, "other")];
	assert.equal(one.fetch("a"), "a");
	assert.throws(() => one.fetch("panic"), WebAssembly.RuntimeError);
	assert.deepEqual(seen(), ["construct one", "construct other", "a", "panic"]);
	assert.equal(other.fetch("b"), "b");
	assert.deepEqual(seen(), ["reset", "construct other", "b"]);
	assert.equal(one.fetch("c"), "c");
	assert.equal(one.fetch("d"), "d");
	assert.deepEqual(seen(), ["construct one", "c", "d"]);
	await assert.rejects(other.fetch("panic later"), WebAssembly.RuntimeError);
	assert.equal(worker.fetch("e"), "e");
	assert.deepEqual(seen(), ["panic later", "reset", "e"]);
});

test("a panic that nobody awaits is seen as well, and an ordinary failure resets nothing", () => {
	listeners.forEach((listener) => listener({ error: new WebAssembly.RuntimeError("unreachable") }));
	assert.equal(worker.fetch("a"), "a");
	assert.deepEqual(seen(), ["reset", "a"]);
	assert.throws(() => worker.fetch("fail"), /ordinary/);
	listeners.forEach((listener) => listener({ error: new Error("ordinary") }));
	assert.equal(worker.fetch("b"), "b");
	assert.deepEqual(seen(), ["fail", "b"]);
});

test("a message that is too long is closed and never reaches the Wasm", () => {
	const room = new Room({}, "one");
	const closed = [];
	const socket = { close: (code) => closed.push(code) };
	for (const message of ["x".repeat(4_194_305), new ArrayBuffer(4_194_305)]) room.webSocketMessage(socket, message);
	assert.deepEqual([closed, seen()], [[1009, 1009], ["construct one"]]);
	for (const message of ["x".repeat(4_194_304), new ArrayBuffer(4_194_304)]) room.webSocketMessage(socket, message);
	assert.deepEqual([closed.length, seen()], [2, ["message", "message"]]);
});
