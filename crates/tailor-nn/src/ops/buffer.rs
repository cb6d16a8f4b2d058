//! Between Burn's tensors and the slices that kernels work on, without copies.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{AllocationProperty, Bytes, DType, Shape, TensorData};
use tailor_kernels::buffer::AlignedBuffer;

/// A tensor of Burn's CPU backend.
pub type FlexTensor = FloatTensor<Flex>;

/// The values of a contiguous tensor, in row-major order.
pub fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("operations make their tensors contiguous, and networks compute in f32")
}

/// The extents of a tensor with `D` axes.
pub fn extents<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.shape().dims()
}

/// A tensor over a kernel's buffer; its memory is recycled when the last tensor that shares it is dropped.
pub fn tensor(buffer: AlignedBuffer, shape: impl Into<Shape>) -> FlexTensor {
    struct Owner(AlignedBuffer);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    let bytes = bytes::Bytes::from_owner(Owner(buffer));
    let bytes = Bytes::from_shared(bytes, AllocationProperty::Other);
    FlexTensor::from_data(TensorData::from_bytes(bytes, shape, DType::F32))
}
