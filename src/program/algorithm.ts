// Defines the algorithms that compute a convolution.

/**
 * `direct` computes every live tap and is exactly causal. `winograd` needs fewer multiplications for squares of 3, 5 and 7
 * (other windows run direct), but its rounding mixes neighbouring pixels. On the CPU `auto` takes the one that is expected
 * to be faster. On a GPU it takes the fastest of our kernels and cuDNN's, which are timed once, and `winograd` means the
 * same.
 */
export type Algorithm = 'auto' | 'direct' | 'winograd';
/** All algorithms, at their index in native/op_shapes.h. */
export const algorithms = ['auto', 'direct', 'winograd'] as const;
