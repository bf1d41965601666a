/** Many items of one verb: a request for each, side by side, as far as a bound; those of one id one after the other. */

/** Requests of one verb that are under way at once. The SDK has 50 sockets. */
export const parallelMax = 25

/** Answers in the order of the items. */
export async function eachSideBySide<Item, Reply>(
  items: readonly Item[],
  idOf: (item: Item) => string,
  one: (item: Item) => Promise<Reply>,
): Promise<Reply[]> {
  const replies: Reply[] = []
  const groups = new Map<string, number[]>()
  for (const [at, item] of items.entries()) {
    const group = groups.get(idOf(item))
    if (group === undefined) groups.set(idOf(item), [at])
    else group.push(at)
  }
  const waiting = groups.values()
  const work = async (): Promise<void> => {
    for (const group of waiting) {
      for (const at of group) replies[at] = await one(items[at] as Item)
    }
  }
  await Promise.all(Array.from({ length: Math.min(parallelMax, groups.size) }, work))
  return replies
}
