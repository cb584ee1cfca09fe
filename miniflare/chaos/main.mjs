/**
 * `cargo xtask chaos`: see chaos.mjs.
 *
 *   --events 20000     how many are published
 *   --minutes 1        over which they are, and after twice of which no more are
 *   --per-request 20   events of one request
 *   --other <folder>   the build folder of another version, deployed in turn with this one
 */
import { parseArgs } from "node:util";
import { chaos } from "./chaos.mjs";

const { values } = parseArgs({
	options: {
		events: { type: "string", default: "20000" },
		minutes: { type: "string", default: "1" },
		"per-request": { type: "string", default: "20" },
		other: { type: "string" },
	},
});
const [events, minutes, perRequest] = ["events", "minutes", "per-request"].map((name) => {
	const number = Number(values[name]);
	if (!(number > 0)) throw new Error(`--${name} ${values[name]} is not a number of them`);
	return number;
});
const result = await chaos({ events, minutes, perRequest, other: values.other, log: (line) => console.error(line) });
console.log(JSON.stringify(result, undefined, "\t"));
const { lost, lostInPeace, twice, outOfOrder, leaked, gaps } = result;
process.exit(lost + lostInPeace + twice + outOfOrder + leaked + gaps > 0 ? 1 : 0);
