/**
 * The Worker on storage that outlives it, and its incidents: it is killed or deployed anew (two builds in turn), its
 * object hibernates or is evicted, its clock jumps.
 */
import { copyFileSync, cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { workerdChildren } from "../bench/cpu.mjs";
import { startServer } from "../server.mjs";
import { signToken } from "../token.mjs";

export const ORGANIZATION = "org_chaos";
const ACCESS_TOKEN = "the-access-token-of-the-chaos-0123456789";
const JWT_SECRET = "the-jwt-secret-of-the-chaos-0123456789";
const BUILD = fileURLToPath(new URL("../../build", import.meta.url));
const MODULES = ["entry.mjs", "index.js", "index_bg.wasm"];

/** A token that outlasts every jump of the clock. */
export function tokenOf(user, roles) {
	return signToken({ sub: user, roles, role: roles[0], organizationId: ORGANIZATION, exp: Math.floor(Date.now() / 1_000) + 86_400 }, JWT_SECRET);
}

export function anonKey() {
	return signToken({ role: "anon", ref: ORGANIZATION, exp: Math.floor(Date.now() / 1_000) + 86_400 }, JWT_SECRET);
}

export class Deployment {
	#folder = mkdtempSync(join(tmpdir(), "realtime-chaos-"));
	#builds;
	#wire;
	#realtime;
	#next = 0;
	#server;
	#pid;

	/** @param {object} wire @param {object} realtime @param {string} [other] the folder of another build, deployed in turn with this one */
	constructor(wire, realtime, other) {
		this.#wire = wire;
		this.#realtime = realtime;
		this.#builds = [BUILD, other].filter(Boolean).map((build, index) => this.#copy(build, `build-${index}`));
	}

	/** A build that is replaced meanwhile must not change under the Worker. */
	#copy(build, name) {
		const folder = join(this.#folder, name);
		cpSync(build, folder, { recursive: true });
		copyFileSync(fileURLToPath(new URL("entry.mjs", import.meta.url)), join(folder, "entry.mjs"));
		return folder;
	}

	/** Starts the next build on the existing storage. */
	async start() {
		const build = this.#builds[this.#next++ % this.#builds.length];
		const before = new Set(workerdChildren());
		const modules = MODULES.map((name) => ({ type: name.endsWith(".wasm") ? "CompiledWasm" : "ESModule", path: join(build, name) }));
		this.#server = await startServer({
			vars: { ACCESS_TOKEN, JWT_SECRET, REALTIME: this.#realtime },
			persist: join(this.#folder, "storage"),
			worker: { modulesRoot: build, modules },
			onLog: () => {},
		});
		this.#pid = workerdChildren().find((pid) => !before.has(pid));
		// Requests come one at a time, or concurrently.
		this.#wire.isOrderly = !this.#wire.isOrderly;
		this.#wire.target = Number(new URL(this.#server.url).port);
	}

	/** Ends it gracefully, as a deploy does, and starts the next build. */
	async deploy() {
		await this.#end();
		await this.start();
	}

	/** Kills workerd at any moment, and starts it again. */
	async kill() {
		process.kill(this.#pid, "SIGKILL");
		this.#next -= 1;
		await this.deploy();
	}

	/** Whether the object can be evicted: local workerd does not evict one that has had concurrent requests. */
	get isEvictable() {
		return this.#wire.isOrderly;
	}

	evict(webSockets) {
		return this.#wire.inTurn(() => this.#server.evict(ORGANIZATION, webSockets));
	}

	async jump(milliseconds) {
		await fetch(`${this.#server.url}/chaos/clock?skew=${milliseconds}`);
	}

	/** Publishes; throws unless it is known to have succeeded. */
	publish(messages) {
		return this.#wire.inTurn(() => this.#publish(messages));
	}

	async #publish(messages) {
		const response = await fetch(`http://127.0.0.1:${this.#wire.target}/broadcast`, {
			method: "POST",
			headers: { authorization: `Bearer ${ACCESS_TOKEN}`, "content-type": "application/json" },
			body: JSON.stringify({ organizationId: ORGANIZATION, messages }),
			signal: AbortSignal.timeout(5_000),
		});
		const answer = await response.json();
		if (response.status !== 202) throw new Error(`${response.status} ${JSON.stringify(answer)}`);
		return answer;
	}

	async dispose() {
		await this.#end();
		rmSync(this.#folder, { recursive: true, force: true });
	}

	async #end() {
		this.#wire.target = undefined;
		await this.#server?.dispose();
		this.#server = undefined;
	}
}
