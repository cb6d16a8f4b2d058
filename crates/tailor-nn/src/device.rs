//! Where networks compute.

use burn::tensor::Device;

use crate::{Error, Result};

/// A device by the name that a user gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceName {
    /// This machine's processor, with our own kernels.
    #[default]
    Cpu,
    /// A GPU through Vulkan, Metal or DirectX, with Burn's operations.
    Wgpu,
    /// A GPU of NVIDIA's, with Burn's operations.
    Cuda,
}

impl DeviceName {
    /// The device, without automatic differentiation.
    ///
    /// # Errors
    /// [`Error::DeviceNotBuilt`] if the program was built without it.
    pub fn open(self) -> Result<Device> {
        match self {
            DeviceName::Cpu => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            DeviceName::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(not(feature = "wgpu"))]
            DeviceName::Wgpu => Err(Error::DeviceNotBuilt("wgpu")),
            #[cfg(feature = "cuda")]
            DeviceName::Cuda => Ok(Device::cuda(0)),
            #[cfg(not(feature = "cuda"))]
            DeviceName::Cuda => Err(Error::DeviceNotBuilt("cuda")),
        }
    }
}
