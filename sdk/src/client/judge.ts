/**
 * Evaluates a filter on a row that may lack some columns.
 */
import { matches, Undecidable } from "./filter.ts";

/**
 * Whether a row passes a filter of the server's grammar; `undefined` if these columns do not suffice, or if only the
 * server can decide.
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
	// `matches` treats a missing column as SQL's unknown, which it does not distinguish from "no".
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
