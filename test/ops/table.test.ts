// Tests every op of the op table by its row: an op without a row fails.
import { expect, it } from 'vitest';
import { native } from '../../src/device/native.js';
import { testGpu } from '../helpers/cuda.js';
import { bf16Missing, testDevice } from '../helpers/models.js';
import type { OpRow } from '../helpers/op-row.js';
import { skipAloud } from '../helpers/skip.js';
import { testOp } from '../helpers/test-op.js';
import {
  addConditionRow,
  castRow,
  embeddingBackwardRow,
  embeddingRow,
  sumPixelsRow,
} from './rows/conditions.js';
import { accumulateRow, binariseRow, quantiseRow, randomUniformRow, zeroRow } from './rows/elements.js';
import { gatedActivationBackwardRow, gatedActivationRow } from './rows/gated-activation.js';
import { nextFrontRow, sampleFrontRow, softmaxCrossEntropyRow } from './rows/head.js';
import { maskedConv2dRow, packRow } from './rows/masked-conv2d.js';
import { backwardInputRow, backwardWeightRow } from './rows/masked-conv2d-gradients.js';
import { adamRow, gradientNormRow } from './rows/optimizer.js';

const rows: readonly OpRow[] = [
  binariseRow,
  quantiseRow,
  randomUniformRow,
  embeddingRow,
  embeddingBackwardRow,
  castRow,
  packRow,
  maskedConv2dRow,
  backwardInputRow,
  backwardWeightRow,
  accumulateRow,
  addConditionRow,
  sumPixelsRow,
  gatedActivationRow,
  gatedActivationBackwardRow,
  softmaxCrossEntropyRow,
  gradientNormRow,
  adamRow,
  zeroRow,
  sampleFrontRow,
  nextFrontRow,
];

it('has a row for every op of the op table, and no other', () => {
  expect(rows.map(({ op }) => op)).toEqual(native().opTable.map(({ name }) => name));
});

const devices = { cpu: testDevice(), gpu: testGpu() };
const onCpu = skipAloud('ops in bf16 on the CPU', await bf16Missing())
  ? ['f32' as const]
  : (['f32', 'bf16'] as const);
for (const row of rows) testOp(row, devices, onCpu);
