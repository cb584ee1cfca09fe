/**
 * What workerd costs the machine. Its CPU time is measured and not the time that passes: clients and neighbours share
 * the cores, and only the former stays the same beside them.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

const onLinux = process.platform === "linux";

/** The workerds that this process has started and that still run. */
export function workerdChildren() {
	const all = onLinux ? processesOfProc() : processesOfPs();
	return all.filter(({ parent, name }) => parent === process.pid && name.endsWith("workerd")).map(({ pid }) => pid);
}

/** The CPU time that a process has used on all its threads so far, in microseconds. */
export function cpuTime(pid) {
	if (!onLinux) return secondsOfPs(ps("-o", "time=", "-p", `${pid}`)) * 1e6;
	const tasks = `/proc/${pid}/task`;
	// In nanoseconds; the fields of `stat` count ticks of ten milliseconds.
	const onCpu = (thread) => Number(readFileSync(`${tasks}/${thread}/schedstat`, "utf8").split(" ")[0]);
	return readdirSync(tasks).reduce((sum, thread) => sum + onCpu(thread), 0) / 1e3;
}

/** The memory that a process has in use, in bytes. */
export function residentMemory(pid) {
	if (!onLinux) return Number(ps("-o", "rss=", "-p", `${pid}`)) * 1024;
	const [, kilobytes] = readFileSync(`/proc/${pid}/status`, "utf8").match(/^VmRSS:\s+(\d+) kB$/m);
	return Number(kilobytes) * 1024;
}

function processesOfProc() {
	const numbers = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry));
	return numbers.flatMap((pid) => {
		try {
			// The name stands in parentheses and may hold any character.
			const [, name, parent] = readFileSync(`/proc/${pid}/stat`, "utf8").match(/\((.*)\) . (\d+)/s);
			return [{ pid: Number(pid), parent: Number(parent), name }];
		} catch {
			return []; // It has ended meanwhile.
		}
	});
}

function processesOfPs() {
	const lines = ps("-A", "-o", "pid=,ppid=,comm=").trim().split("\n");
	return lines.map((line) => {
		const [, pid, parent, name] = line.match(/^\s*(\d+)\s+(\d+)\s+(.*)$/);
		return { pid: Number(pid), parent: Number(parent), name };
	});
}

/** `[[days-]hours:]minutes:seconds` in seconds. */
function secondsOfPs(text) {
	return text
		.trim()
		.split(/[-:]/)
		.reverse()
		.reduce((sum, part, place) => sum + Number(part) * [1, 60, 3_600, 86_400][place], 0);
}

function ps(...args) {
	return execFileSync("ps", args, { encoding: "utf8" });
}
