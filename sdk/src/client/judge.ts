/**
 * A filter's verdict on a row of which some columns may be missing.
 */
import { matches, Undecidable } from "./filter.ts";

/**
 * Whether a row passes a filter of the server's grammar; `undefined` where these columns do not tell, or where only the
 * server can.
 *
 * @example
 * ```ts
 * client.on("claims", "INSERT", ({ new: claim }) => {
 *   if (judge("project_id=eq.1", claim)) console.log(claim.title);
 * });
 * ```
 */
export function judge(filter: string, row: object): boolean | undefined {
	let isMissing = false;
	// `matches` takes a missing column for SQL's unknown, which is not told apart from "no".
	const noting = new Proxy(row, {
		getOwnPropertyDescriptor(target, column) {
			const found = Reflect.getOwnPropertyDescriptor(target, column);
			isMissing ||= !found;
			return found;
		},
	});
	try {
		const passes = matches(filter, noting);
		return isMissing ? undefined : passes;
	} catch (error) {
		if (error instanceof Undecidable) return undefined;
		throw error;
	}
}
