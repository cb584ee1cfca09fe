/**
 * The Worker with a clock that jumps, by as many milliseconds as a request to `/chaos/clock` says.
 */
import worker from "./index.js";

export * from "./index.js";

const { now } = Date;
let skew = 0;
Date.now = () => now.call(Date) + skew;

export default {
	...worker,
	fetch(request, env, context) {
		const { pathname, searchParams } = new URL(request.url);
		if (pathname !== "/chaos/clock") return worker.fetch(request, env, context);
		skew = Number(searchParams.get("skew"));
		return new Response();
	},
};
