/**
 * The engine alone, compiled for this machine: `benches/publish.rs`.
 */
import { execFileSync } from "node:child_process";
import { figure } from "./table.mjs";

/** Microseconds of a publication with three masked fields to three classes. */
const MOST = 15;

export function native() {
	const stdio = ["ignore", "pipe", "inherit"];
	const output = execFileSync(process.env.CARGO ?? "cargo", ["bench", "--quiet", "--bench", "publish"], { encoding: "utf8", stdio });
	return output
		.trim()
		.split("\n")
		.map((line) => JSON.parse(line))
		.map(({ name, microseconds, isAimedAt }) =>
			figure(`engine, native: ${name}`, "µs", microseconds, { most: isAimedAt ? MOST : undefined }),
		);
}
