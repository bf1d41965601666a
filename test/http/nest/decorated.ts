/**
 * Decorators applied by hand, in the order of TypeScript's `experimentalDecorators`: neither Node nor the test runner
 * compiles those. The example in `examples/nest` is compiled as users do it.
 */

type Class = abstract new (...args: never[]) => object
type OnParameter = (target: object, name: string | symbol | undefined, index: number) => void

interface Decorators {
  /** As written above the method, from top to bottom. */
  readonly method: readonly MethodDecorator[]
  /** Decorators of the parameters, each with its index. */
  readonly parameters?: readonly OnParameter[]
}

/** Decorates a class and its methods; returns the class. */
export function decorated<C extends Class>(
  target: C,
  onClass: readonly ClassDecorator[],
  methods: Readonly<Record<string, Decorators>> = {},
): C {
  const prototype = target.prototype as object
  for (const [name, { method, parameters = [] }] of Object.entries(methods)) {
    const descriptor = Object.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor
    for (const [index, decorate] of [...parameters.entries()].toReversed()) decorate(prototype, name, index)
    for (const decorate of method.toReversed()) decorate(prototype, name, descriptor)
  }
  for (const decorate of onClass.toReversed()) decorate(target)
  return target
}
