/**
 * Thousands of clients, spread over processes: each has a limit of open files, and one alone could not keep up.
 */
import { execFileSync, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

const SOCKETS_PER_PROCESS = 5_000;
/** What a process has open besides its sockets. */
const OTHER_FILES = 200;
/** How long all frames of one publication may take. Only a broken run waits that long. */
const PATIENCE = 60_000;

/** Says what to do where workerd could not open as many sockets as are wanted. */
export function checkOpenFiles(sockets) {
	// Node raises the limit as far as it may, and so its children's.
	const limit = Number(execFileSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" })) || Number.POSITIVE_INFINITY;
	const wanted = sockets + OTHER_FILES;
	if (limit < wanted) {
		throw new Error(
			`${sockets} sockets need ${wanted} open files in one process, and ${limit} are allowed: ` +
				`raise the limit (ulimit -n ${wanted}) or ask for fewer sockets (--sockets)`,
		);
	}
}

/** The processes. */
export class Fleet {
	#processes;
	#groups = new Map();

	constructor(sockets, socketsPerProcess = SOCKETS_PER_PROCESS) {
		const count = Math.ceil(sockets / socketsPerProcess);
		const script = fileURLToPath(new URL("load.mjs", import.meta.url));
		this.#processes = Array.from({ length: count }, () => fork(script));
		for (const [index, process] of this.#processes.entries()) {
			process.on("message", (message) => this.#groups.get(message.group).report(index, message));
		}
	}

	/** Opens `size` sockets to an organization and gives the group of them. */
	async open(side, organizationId, size) {
		const targets = Array.from({ length: size }, (_, index) => side.target(organizationId, index));
		const share = Math.ceil(size / this.#processes.length);
		const shares = this.#processes.map((_, index) => targets.slice(index * share, (index + 1) * share));
		const group = new Group(organizationId, shares);
		const id = this.#groups.size;
		this.#groups.set(id, group);
		for (const [index, process] of this.#processes.entries()) {
			process.send({ group: id, targets: shares[index], greetings: side.greetings, opening: side.opening });
		}
		await group.opened();
		return group;
	}

	/** Breaks all sockets off. */
	dispose() {
		for (const process of this.#processes) process.kill();
	}
}

/** Sockets of one organization. */
class Group {
	/** The organization that they are open to. */
	organizationId;
	/** How many they are. */
	size;
	#reports;
	#expected = 0;
	#waiting;

	constructor(organizationId, shares) {
		this.organizationId = organizationId;
		this.size = shares.flat().length;
		this.#reports = shares.map(({ length }) => ({ size: length, opened: false, frames: 0, bytes: 0 }));
	}

	opened() {
		return this.#until(() => this.#reports.every(({ opened }) => opened));
	}

	/** Settles when everyone has received one more frame, or so many. */
	received(frames = 1) {
		this.#expected += frames;
		return this.#until(() => this.#reports.every(({ size, frames }) => frames === size * this.#expected));
	}

	/** The bytes of the frames so far, on average. */
	bytesPerFrame() {
		const sum = (what) => this.#reports.reduce((total, report) => total + report[what], 0);
		return sum("bytes") / sum("frames");
	}

	report(index, { opened, frames, bytes, failure }) {
		const report = this.#reports[index];
		if (failure) this.#waiting?.fail(new Error(failure));
		else if (opened !== undefined) report.opened = true;
		else Object.assign(report, { frames, bytes });
		this.#waiting?.check();
	}

	#until(isReached) {
		return new Promise((resolve, reject) => {
			const settle = (settled) => (value) => {
				clearTimeout(timer);
				this.#waiting = undefined;
				settled(value);
			};
			const state = () => JSON.stringify(this.#reports);
			const timer = setTimeout(() => this.#waiting.fail(new Error(`frames are missing: ${state()}`)), PATIENCE);
			this.#waiting = { check: () => isReached() && settle(resolve)(), fail: settle(reject) };
			this.#waiting.check();
		});
	}
}
